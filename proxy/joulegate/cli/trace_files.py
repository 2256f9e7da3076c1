"""Writes the files of a recording: elsewhere until they are whole, and never over a file that is there."""

import shutil
import tempfile
from array import array
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec
from msgspec import Raw, Struct

from joulegate.errors import ConfigError

TRACE, SAMPLES, SETUP = "trace.jsonl", "nvml.jsonl", "public.json"


class _Timed(Struct):
    t: float


class Rows:
    """A file of rows that come in any order and end up in the order of time; equal times keep theirs."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("w+b")
        self._times = array("d")
        self._places = array("Q")

    def __len__(self) -> int:
        return len(self._times)

    def add(self, row: bytes) -> None:
        """Accept a row. Raises ``msgspec.DecodeError`` if it has no time."""
        self._times.append(msgspec.json.decode(row, type=_Timed).t)
        self._places.append(self._file.tell())
        self._file.write(row + b"\n")

    def sort(self, path: Path) -> None:
        """Write all rows to another file."""
        with path.open("wb") as out:
            for place in sorted(range(len(self)), key=self._times.__getitem__):
                self._file.seek(self._places[place])
                out.write(self._file.readline())

    def close(self) -> None:
        """Let go of the file. A disk that is full was told of before."""
        with suppress(OSError):
            self._file.close()


class TraceFiles:
    """The three files of a trace in the making."""

    def __init__(self, out: Path, workplace: Path) -> None:
        self._out = out
        self._workplace = workplace
        self.trace = Rows(workplace / "rows")
        self.samples = Rows(workplace / "readings")
        self.setup: Raw | None = None
        """The setup as it was told last."""

    def keep(self) -> None:
        """Return the files their names, the setup last. Raises ``ConfigError``."""
        self.trace.sort(self._workplace / TRACE)
        self.samples.sort(self._workplace / SAMPLES)
        setup = msgspec.json.format(bytes(self.setup or b"{}"), indent=1)
        (self._workplace / SETUP).write_bytes(setup + b"\n")
        check_free(self._out)
        for name in (TRACE, SAMPLES, SETUP):
            (self._workplace / name).rename(self._out / name)


@contextmanager
def trace_files(out: Path) -> Iterator[TraceFiles]:
    """Open the files of a trace in a folder, which is made if need be; what is not kept goes away.

    Raises ``ConfigError`` if one of them is there already, or the folder cannot be written.
    """
    check_free(out)
    try:
        out.mkdir(parents=True, exist_ok=True)
        workplace = Path(tempfile.mkdtemp(dir=out, prefix=".recording-"))
    except OSError as error:
        raise ConfigError(f"--out: {out} cannot be written: {error.strerror or error}") from error
    files = TraceFiles(out, workplace)
    try:
        yield files
    except OSError as error:
        raise ConfigError(f"--out: {out} cannot be written: {error.strerror or error}") from error
    finally:
        files.trace.close()
        files.samples.close()
        shutil.rmtree(workplace, ignore_errors=True)


def check_free(out: Path) -> None:
    """Raise ``ConfigError`` if a trace is in the folder already."""
    for name in (TRACE, SAMPLES, SETUP):
        if (out / name).exists():
            raise ConfigError(f"--out: {out / name} is there already: name another folder, or move it away")
