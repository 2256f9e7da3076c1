"""Who serves a port, on real sockets."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator

import psutil
import pytest

from joulegate import processes
from joulegate.processes import process_lives, relatives, serving, with_children


@pytest.fixture
def port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield int(listener.getsockname()[1])


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "0.0.0.0"])
def test_the_holder_of_a_port_is_found(port: int, host: str) -> None:
    """Every name of this host leads to the process that listens."""
    assert serving(host, port).pids == (os.getpid(),)


def test_a_wildcard_listener_serves_every_address_of_the_host() -> None:
    """A server on 0.0.0.0 is found by a single address."""
    with socket.create_server(("0.0.0.0", 0)) as listener:
        assert serving("127.0.0.1", listener.getsockname()[1]).pids == (os.getpid(),)


def test_a_dual_stack_listener_serves_ipv4() -> None:
    """A server on [::] is found by an IPv4 address."""
    if not socket.has_dualstack_ipv6():
        pytest.skip("this host has no IPv6")
    with socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True) as listener:
        assert serving("127.0.0.1", listener.getsockname()[1]).pids == (os.getpid(),)


def test_a_listener_on_another_address_is_not_it(port: int) -> None:
    """A server on 127.0.0.1 does not serve 127.0.0.2."""
    assert serving("127.0.0.2", port).reason in (
        f"nothing listens on 127.0.0.2:{port}",
        "127.0.0.2 is another host",
    )


def test_an_ipv4_address_may_be_written_as_ipv6() -> None:
    """A listener that the kernel shows as ::ffff:127.0.0.1 serves 127.0.0.1."""
    assert processes._fits("::ffff:127.0.0.1", {"127.0.0.1"})
    assert not processes._fits("::ffff:127.0.0.1", {"127.0.0.2"})


def test_a_free_port_has_a_reason() -> None:
    """Where nothing listens, the address is named, and the host is known to be this one."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        number = listener.getsockname()[1]
    found = serving("127.0.0.1", number)
    assert (found.pids, found.local, found.hidden) == ((), True, False)
    assert found.reason == f"nothing listens on 127.0.0.1:{number}"


def test_another_host_is_said() -> None:
    """An address that is none of this host's own is another host."""
    found = serving("192.0.2.1", 80)
    assert (found.local, found.reason) == (False, "192.0.2.1 is another host")


@pytest.mark.parametrize("host", ["no-such-host.invalid", "a" * 300, "\ud800"])
def test_a_name_without_address_is_said(host: str) -> None:
    """A name that does not resolve is a reason, never an exception; it may resolve later."""
    found = serving(host, 80)
    assert (found.pids, found.local) == ((), True)
    assert "has no address now" in found.reason


def test_a_forwarded_port_leads_into_a_container(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that only forwards to a container is not taken for the server."""
    monkeypatch.setattr(processes, "_name", lambda _pid: "docker-proxy")
    found = serving("127.0.0.1", port)
    assert found.pids == ()
    assert "forwarded by docker-proxy" in found.reason


def test_a_hidden_process_is_said(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A listener whose process this user may not see is known to be there."""
    monkeypatch.setattr(processes, "_listeners", lambda: [("127.0.0.1", port, None)])
    found = serving("127.0.0.1", port)
    assert (found.pids, found.hidden) == ((), True)


def test_one_process_at_a_time_finds_the_same(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the table of all sockets is for root only, the processes are asked one by one."""

    def refuse(kind: str) -> list[object]:
        raise psutil.AccessDenied(msg=kind)

    monkeypatch.setattr(psutil, "net_connections", refuse)
    assert serving("127.0.0.1", port).pids == (os.getpid(),)


def test_children_and_grandchildren_belong_to_a_process() -> None:
    """Every descendant is found once, whatever roots are named."""
    code = "import subprocess, sys; p = subprocess.Popen(['sleep', '60']); print(p.pid, flush=True); p.wait()"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        grandchild = int(child.stdout.readline())
        try:
            found = [process.pid for process in with_children([os.getpid(), child.pid])]
            assert {os.getpid(), child.pid, grandchild} <= set(found)
            assert len(found) == len(set(found))
        finally:
            psutil.Process(grandchild).kill()


def test_processes_that_are_gone_are_left_out() -> None:
    """A process that ended has no children."""
    child = subprocess.Popen(["true"])
    child.wait()
    assert list(with_children([child.pid])) == []


def test_children_and_the_process_group_belong_together() -> None:
    """A launcher's workers need not be children of the one that listens; another job is no relative."""
    sleeper = [sys.executable, "-c", "import sys; sys.stdin.read()"]
    with (
        subprocess.Popen(sleeper, stdin=subprocess.PIPE, process_group=0) as listener,
        subprocess.Popen(sleeper, stdin=subprocess.PIPE, process_group=listener.pid) as worker,
        subprocess.Popen(sleeper, stdin=subprocess.PIPE, process_group=0) as stranger,
    ):
        found = relatives([listener.pid], [worker.pid, stranger.pid, os.getpid(), 2**22 + 1])
        assert found == {worker.pid}
        assert relatives([os.getpid()], [stranger.pid]) == {stranger.pid}, "a child in a group of its own"


def test_only_the_processors_that_may_be_used_count() -> None:
    """A process that is bound to one processor has one."""
    program = (
        "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}); from joulegate import processes"
    )
    bound = [sys.executable, "-c", program + "; print(processes.processors())"]
    assert subprocess.run(bound, check=True, capture_output=True, text=True).stdout == "1\n"


def test_a_process_lives_until_it_ends() -> None:
    """One that nobody has reaped is as dead as one that is gone, or a number that nobody can have."""
    child = subprocess.Popen(["sleep", "60"])
    assert process_lives(child.pid)
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert not process_lives(child.pid)
    child.wait()
    assert not process_lives(child.pid)
    assert not process_lives(-1)
