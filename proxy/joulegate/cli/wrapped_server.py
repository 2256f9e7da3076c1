"""The server that ``joulegate wrap`` starts: waited for, watched, signalled."""

import os
import signal
import socket
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from types import FrameType

from joulegate.errors import ConfigError

_LOOK = 0.1
"""Seconds between two looks whether the server accepts."""
_TELL = 5.0
"""Seconds between two words that it does not yet."""

ENDING = (signal.SIGINT, signal.SIGTERM)
PASSED_ON = (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)


class WrappedServer:
    """A process in a group of its own, so that Ctrl-C ends requests before it ends the server."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        try:
            self._process = subprocess.Popen(command, env=environment, process_group=0)  # noqa: S603 (it is the user's)
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise ConfigError(f"{command[0]!r} cannot be started: {reason}") from error

    def accepts(self, port: int, stop: threading.Event, tell: Callable[[float], None]) -> bool:
        """Wait until it accepts connections; ``False`` if it ended or was told to stop before."""
        waited = 0.0
        while self._process.poll() is None and not stop.is_set():
            if _is_open(port):
                return True
            stop.wait(_LOOK)
            waited += _LOOK
            if waited % _TELL < _LOOK:
                tell(waited)
        return False

    def is_gone(self, patience: float) -> bool:
        """Wait for its end for so many seconds at most."""
        try:
            self._process.wait(patience)
        except subprocess.TimeoutExpired:
            return False
        return True

    def signal(self, number: int) -> None:
        """Send a signal to the server and its own children, if they are still there."""
        if self._process.poll() is None:
            os.killpg(self._process.pid, number)

    def ended(self) -> int | None:
        """Return its exit code as a shell would, or ``None`` while it runs."""
        code = self._process.poll()
        return code if code is None or code >= 0 else 128 - code

    def end(self, patience: float) -> int:
        """Ask it to stop, insist after ``patience`` seconds, and return its exit code as a shell would."""
        self.signal(signal.SIGTERM)
        try:
            self._process.wait(patience)
        except subprocess.TimeoutExpired:
            self.signal(signal.SIGKILL)
            self._process.wait()
        return self.ended() or 0


def free_port() -> int:
    """Return a port of the loopback interface that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def pass_on(child: WrappedServer) -> None:
    """Let the server have the signals that mean something to it, such as "read your files again"."""

    def forward(number: int, _: FrameType | None) -> None:
        child.signal(number)

    for number in PASSED_ON:
        signal.signal(number, forward)


class StopWatcher:
    """Ends joulegate when the server is gone or when a signal came before joulegate took signals itself."""

    def __init__(self) -> None:
        self.asked = threading.Event()
        """A signal to end came."""
        self._over = threading.Event()
        for number in ENDING:
            signal.signal(number, self._note)

    def watch(self, child: WrappedServer) -> None:
        """Begin; joulegate must be about to run in the main thread."""
        threading.Thread(target=self._watch, args=(child,), name="watch the server", daemon=True).start()

    def over(self) -> None:
        """Joulegate has ended: nothing is left to do."""
        self._over.set()

    def _note(self, _: int, __: FrameType | None) -> None:
        self.asked.set()

    def _watch(self, child: WrappedServer) -> None:
        while not (self._over.is_set() or self.asked.is_set() or child.is_gone(_LOOK)):
            pass
        while signal.getsignal(signal.SIGTERM) == self._note and not self._over.wait(_LOOK):
            pass  # it would be swallowed: joulegate is still starting
        if not self._over.is_set():
            os.kill(os.getpid(), signal.SIGTERM)  # drain as on any SIGTERM


def _is_open(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True
