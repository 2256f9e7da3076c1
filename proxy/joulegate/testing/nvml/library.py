"""Compiles the fake library and loads it into this process."""

import ctypes
import os
import shutil
import subprocess
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from joulegate.errors import ConfigError

SONAME = "libnvidia-ml.so.1"
HEADER_PACKAGE = "nvidia-nvml-dev"


def build(directory: Path, *, without: Iterable[str] = ()) -> Path:
    """Compile the library into a folder and return its path.

    ``without`` names functions that it shall not have, as in old drivers. Raises ``ConfigError`` that says
    what to install if there is no C compiler or no ``nvml.h``.
    """
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        raise ConfigError("the fake NVML library needs a C compiler: install gcc")
    library = directory / SONAME
    absent = [f"-D{name}=absent_{name}" for name in without]
    command = [
        compiler, "-std=gnu11", "-O1", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-pthread",
        f"-Wl,-soname,{SONAME}", "-isystem", str(header().parent), *absent,
        "-o", str(library), str(Path(__file__).with_name("fake_nvml.c")),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - our own words
    if done.returncode != 0:
        raise ConfigError(f"the fake NVML library does not compile against {header()}:\n{done.stderr}")
    return library


def header() -> Path:
    """Return the path of NVIDIA's ``nvml.h``. Raises ``ConfigError`` if its package is missing."""
    try:
        files = distribution(HEADER_PACKAGE).files or []
    except PackageNotFoundError:
        files = []
    for file in files:
        if file.name == "nvml.h":
            return Path(str(file.locate()))
    raise ConfigError(f"NVIDIA's nvml.h is missing: pip install {HEADER_PACKAGE}")


def load(library: Path) -> ctypes.CDLL:
    """Load the library into this process before ``pynvml`` looks for one; see ``Control.enter``.

    A process has at most one library of that name: a second call gives the first one again.
    """
    try:
        loaded = ctypes.CDLL(SONAME, mode=os.RTLD_NOLOAD)
    except OSError:
        loaded = ctypes.CDLL(str(library), mode=ctypes.RTLD_GLOBAL)
    if not hasattr(loaded, "fake_nvml_size"):
        raise ConfigError("this process has loaded NVIDIA's own library already: load the fake one first")
    loaded.fake_nvml_size.restype = ctypes.c_size_t
    loaded.fake_nvml_open.argtypes = [ctypes.c_char_p]
    return loaded
