"""One process under the supervisor: start it, hear it, end it, and decide when to start it again."""

import asyncio
import os
import signal
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import TypeAlias

from msgspec import Struct

LAST_LINES = 20
LONGEST_LINE = 1 << 16
PIPE = READ = 1 << 16
"""Bytes that a pipe holds (pipe(7)), read at once."""

CONFIG_ERROR = 2
"""Exit code of a process whose configuration is wrong."""
CANNOT_START = 127
"""As shells say it of a program that cannot be started."""
SEASONED = 10.0
"""Seconds of life after which a process counts as sound."""
FIRST_DELAY, LAST_DELAY = 0.1, 5.0
LOOP = 3
"""Early deaths in a row that make a crash loop."""


Output: TypeAlias = Callable[[bytes], None]
"""Takes whole lines that a child wrote to standard error."""


class ChildSpec(Struct, frozen=True):
    """What to run. ``environment`` is added to the supervisor's own."""

    name: str
    argv: tuple[str, ...]
    environment: dict[str, str] = {}
    restart: bool = True
    """If not, its end is the end of the run, and its exit code the run's."""
    stage: int = 0
    """Lower stages start first and are stopped last: the meter is 0, the gates are 1."""


class Verdict(Struct, frozen=True):
    """What to do after a death."""

    delay: float | None
    """Seconds until the next start; ``None``: give up."""
    deaths: int
    """Early deaths in a row."""


class Restarts:
    """Decides on restarts from exit codes and ages alone."""

    def __init__(self) -> None:
        self._sound = False
        self._early = 0

    @property
    def looping(self) -> bool:
        """It has died early so often in a row that each further death is no news."""
        return self._early >= LOOP

    def survived(self) -> None:
        """Notify that it has lived for ``SEASONED``."""
        self._sound, self._early = True, 0

    def died(self, code: int, age: float) -> Verdict:
        """Judge a death after ``age`` seconds of life."""
        if age >= SEASONED:
            self.survived()
        if code in (CONFIG_ERROR, CANNOT_START) and not self._sound:
            return Verdict(None, self._early)
        delay = min(FIRST_DELAY * 2**self._early, LAST_DELAY)
        self._early += age < SEASONED
        return Verdict(delay, self._early)


class Child:
    """One program and its present process, if any."""

    def __init__(
        self, spec: ChildSpec, environment: Mapping[str, str], inherit: Sequence[int], output: Output
    ) -> None:
        self.spec = spec
        self.retiring = asyncio.Event()
        """It is not to be started again."""
        self.last_lines: deque[str] = deque(maxlen=LAST_LINES)
        """The end of what its processes wrote to standard error."""
        self._environment = {**environment, **spec.environment}
        self._inherit = inherit
        self._output = output
        self._process: asyncio.subprocess.Process | None = None
        self._line = b""

    @property
    def pid(self) -> int | None:
        """Process id while it runs."""
        return self._process.pid if self._process else None

    async def live(self, started: Callable[[], None]) -> int:
        """Run one process to its end; return its exit code, negative for a signal."""
        try:
            return await self._live(started)
        except OSError as error:
            self._say(f"{self.spec.argv[0]} cannot be started: {error.strerror or error}\n".encode())
            return CANNOT_START
        finally:
            self._process = None

    def retire(self) -> None:
        """Ask it to end (SIGTERM), and start it no more."""
        self.retiring.set()
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it, and all that it started, without asking."""
        self.retiring.set()
        self._signal(signal.SIGKILL)

    async def _live(self, started: Callable[[], None]) -> int:
        reading, writing = os.pipe()
        try:
            try:
                self._process = await self._spawn(reading, writing)
            finally:
                os.close(writing)
            started()
            return await self._accompany(self._process, reading)
        finally:
            os.close(reading)

    async def _spawn(self, reading: int, writing: int) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            *self.spec.argv,
            env=self._environment,
            stderr=writing,
            # The child holds the reading end too: if the supervisor is killed, a log line in the moment
            # before the child notices must not break a request with EPIPE.
            pass_fds=(*self._inherit, reading),
            # Ctrl-C reaches the supervisor alone, which ends the children in their order.
            start_new_session=True,
        )

    async def _accompany(self, process: asyncio.subprocess.Process, reading: int) -> int:
        if self.retiring.is_set():  # asked to end while it was being started
            self._signal(signal.SIGTERM)
        loop = asyncio.get_running_loop()
        os.set_blocking(reading, False)
        loop.add_reader(reading, self._relay, reading)
        try:
            return await process.wait()
        except asyncio.CancelledError:
            self.kill()
            await process.wait()
            raise
        finally:
            for _ in range(PIPE // READ + 1):  # not to the end: what it started may write for ever
                self._relay(reading)
            self._say(b"\n" if self._line else b"")
            loop.remove_reader(reading)

    def _signal(self, number: signal.Signals) -> None:
        if self._process is None or self._process.returncode is not None:
            return
        with suppress(ProcessLookupError):
            if number == signal.SIGKILL:
                os.killpg(self._process.pid, number)
            else:
                self._process.send_signal(number)

    def _relay(self, reading: int) -> None:
        """Accept a part of what is there to read now."""
        with suppress(BlockingIOError):
            written = os.read(reading, READ)
            self._say(written)
            if not written:  # every writer is gone
                asyncio.get_running_loop().remove_reader(reading)

    def _say(self, written: bytes) -> None:
        """Pass whole lines on, so that those of several processes do not mix."""
        *lines, self._line = (self._line + written).split(b"\n")
        if len(self._line) > LONGEST_LINE:
            lines, self._line = [*lines, self._line], b""
        for line in lines:
            self.last_lines.append(line.decode("utf-8", "replace"))
            self._output(line + b"\n")
