"""The server behind joulegate: real processes."""

import signal
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from joulegate.cli.wrapped_server import StopWatcher, WrappedServer, free_port, pass_on
from joulegate.config.environment import changed
from joulegate.errors import ConfigError

SERVER = "import socket, sys, signal; s = socket.create_server(('127.0.0.1', int(sys.argv[1])))\n"


def python(code: str, *arguments: str) -> WrappedServer:
    return WrappedServer([sys.executable, "-c", code, *arguments], changed({}))


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    """Give the signals back to pytest."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
    before = {number: signal.getsignal(number) for number in numbers}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def test_a_server_that_accepts_and_obeys_sigterm() -> None:
    """It is waited for, asked to stop, and its code is a shell's."""
    port = free_port()
    child = python(SERVER + "signal.pause()", str(port))
    assert child.accepts(port, threading.Event(), print)
    assert child.ended() is None
    assert child.end(10) == 128 + signal.SIGTERM


def test_a_server_that_ends_first() -> None:
    """A server that fails to start is not waited for for ever."""
    child = python("raise SystemExit(7)")
    assert not child.accepts(free_port(), threading.Event(), print)
    assert child.ended() == child.end(1) == 7


def test_a_server_that_does_not_obey() -> None:
    """What ignores SIGTERM is killed after the patience."""
    port = free_port()
    child = python(SERVER + "signal.signal(15, signal.SIG_IGN)\nwhile True: signal.pause()", str(port))
    assert child.accepts(port, threading.Event(), print)
    # The socket opens just before the signal is ignored: either way it ends.
    assert child.end(0.2) in {128 + signal.SIGKILL, 128 + signal.SIGTERM}


def test_waiting_can_be_interrupted() -> None:
    """Ctrl-C while a model loads ends the waiting."""
    stop = threading.Event()
    child = python("import signal; signal.pause()")
    told: list[float] = []
    stop.set()
    assert not child.accepts(free_port(), stop, told.append)
    assert child.ended() is None
    child.end(10)


def test_a_command_that_does_not_exist() -> None:
    """It is named with the reason."""
    with pytest.raises(ConfigError, match="'/no/such' cannot be started: No such file"):
        WrappedServer(["/no/such"], {})


def test_signals_with_a_meaning_for_the_server_reach_it() -> None:
    """SIGHUP goes on to the server, which here ends with a code of its own."""
    port = free_port()
    child = python(
        "import signal\nsignal.signal(1, lambda *_: exit(9))\n" + SERVER + "while True: signal.pause()",
        str(port),
    )
    pass_on(child)
    assert child.accepts(port, threading.Event(), print)
    signal.raise_signal(signal.SIGHUP)
    assert child.is_gone(10)
    assert child.ended() == 9


def test_a_server_that_goes_ends_joulegate_once_it_takes_signals() -> None:
    """The end of the server is not lost while joulegate is still starting."""
    code = """
import signal, sys, threading
from joulegate.cli.wrapped_server import StopWatcher, WrappedServer
from joulegate.config.environment import changed
ending, came = StopWatcher(), threading.Event()
child = WrappedServer(["true"], changed({}))
ending.watch(child)
assert child.is_gone(10)
# Only now joulegate takes signals itself.
signal.signal(signal.SIGTERM, lambda *_: came.set())
assert came.wait(10)
assert not ending.asked.is_set()
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=30)


def test_a_signal_before_joulegate_takes_signals_is_kept() -> None:
    """Ctrl-C between the server's start and joulegate's own is handed on."""
    ending = StopWatcher()
    signal.raise_signal(signal.SIGINT)
    assert ending.asked.is_set()
    ending.over()
