"""A fake NVIDIA driver library that the real ``pynvml`` loads, and the file that drives it.

``build`` compiles ``fake_nvml.c`` against NVIDIA's own ``nvml.h`` (package ``nvidia-nvml-dev``). A process
loads the result by ``LD_LIBRARY_PATH`` (see ``Control.environment``), or by ``load`` in this process. A
``Control`` changes the GPUs while programs read them: watts, errors, hangs, lost boards, resets.

Energy follows the watts exactly, in whole nanojoules of the monotonic clock; ``Control.counter`` and
``Control.energy`` compute what the library shows and what was really drawn.
"""

from joulegate.testing.nvml.control import Call, Control, Gpu
from joulegate.testing.nvml.library import build, load
from joulegate.testing.nvml.profiles import PROFILES, Profile

__all__ = ["PROFILES", "Call", "Control", "Gpu", "Profile", "build", "load"]
