"""The one place that asks the operating system which processes run: who serves a port, who its children are.

Slow (milliseconds, all of ``/proc``): never on a request's path, seldom on a sampler's.
"""

import os
import socket
from collections.abc import Callable, Iterable, Sequence

import psutil
from msgspec import Struct

FORWARDERS = frozenset({"docker-proxy", "rootlessport", "rootlesskit", "slirp4netns", "pasta", "conmon"})
"""Processes that hold a port on behalf of a container: the work is done elsewhere."""

ANY = frozenset({"0.0.0.0", "::", ""})


class Serving(Struct, frozen=True):
    """The processes that serve an address, or why they are not known."""

    pids: tuple[int, ...]
    """Holders of the listening socket; empty if not known."""
    reason: str = ""
    """Why ``pids`` is empty, in words for a person."""
    local: bool = True
    """The address is one of this host's own."""
    hidden: bool = False
    """A process of this host listens, but this user may not see which."""


def processors() -> int:
    """Return how many processors this process may use: a container or a service may be bound to a few."""
    return len(os.sched_getaffinity(0))


def serving(host: str, port: int) -> Serving:
    """Return the processes on this host that listen on an address."""
    addresses = _addresses(host)
    if not addresses:
        return Serving((), f"the name {host} has no address now")
    if not addresses & _own_addresses():
        return Serving((), f"{host} is another host", local=False)
    listening = [
        (pid, address)
        for address, number, pid in _listeners()
        if number == port and _fits(address, addresses)
    ]
    pids = sorted({pid for pid, _ in listening if pid is not None})
    if not listening:
        return Serving((), f"nothing listens on {host}:{port}")
    if not pids:
        return Serving((), f"the process on {host}:{port} belongs to another user", hidden=True)
    forwarders = sorted({name for name in map(_name, pids) if name in FORWARDERS})
    if forwarders:
        return Serving((), f"{host}:{port} is forwarded by {forwarders[0]}: the server runs in a container")
    return Serving(tuple(pids))


def serving_any(
    addresses: Iterable[tuple[str, int]], find: Callable[[str, int], Serving] = serving
) -> Serving:
    """Return the processes on this host that listen on any of these addresses."""
    found = [find(host, port) for host, port in addresses]
    pids = tuple(dict.fromkeys(pid for one in found for pid in one.pids))
    reasons = dict.fromkeys(one.reason for one in found if one.reason)
    return Serving(
        pids,
        "" if pids else "; ".join(reasons),
        local=any(one.local for one in found),
        hidden=any(one.hidden for one in found),
    )


def process_lives(pid: int) -> bool:
    """Whether a process is running here; one that ended and is not reaped yet is not."""
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except (psutil.Error, ValueError):
        return False


def with_children(pids: Iterable[int]) -> Sequence[psutil.Process]:
    """Return these processes and all that descend from them, each once; those that are gone are left out."""
    found: dict[int, psutil.Process] = {}
    for pid in pids:
        try:
            root = psutil.Process(pid)
            for process in [root, *root.children(recursive=True)]:
                found.setdefault(process.pid, process)
        except psutil.Error:
            continue
    return list(found.values())


def relatives(pids: Iterable[int], others: Iterable[int]) -> frozenset[int]:
    """Return those of the others that belong to the same jobs as some processes.

    A job is all that descends from them, and their process groups: a launcher's workers are not always
    children of the one that listens.
    """
    roots = tuple(pids)
    family = {process.pid for process in with_children(roots)}
    groups = {group for pid in roots if (group := _group(pid)) is not None}
    return frozenset(pid for pid in others if pid in family or _group(pid) in groups)


def _group(pid: int) -> int | None:
    try:
        return os.getpgid(pid)
    except OSError:
        return None


def _addresses(host: str) -> set[str]:
    try:
        return {str(entry[4][0]) for entry in socket.getaddrinfo(host, None)}
    except (OSError, UnicodeError):
        return set()


def _own_addresses() -> set[str]:
    interfaces = psutil.net_if_addrs().values()
    own = {address.address.partition("%")[0] for addresses in interfaces for address in addresses}
    return own | {"127.0.0.1", "::1"} | ANY


def _fits(listening: str, asked: set[str]) -> bool:
    address = listening.removeprefix("::ffff:")
    return address in ANY or address in asked or bool(asked & ANY)


def _listeners() -> list[tuple[str, int, int | None]]:
    """Return address, port and process of every listening TCP socket."""
    try:
        everyone = psutil.net_connections(kind="tcp")
    except psutil.Error:  # macOS: the table of all is for root only
        return [listener for pid in psutil.pids() for listener in _listeners_of(pid)]
    return [(c.laddr.ip, c.laddr.port, c.pid) for c in everyone if c.status == psutil.CONN_LISTEN and c.laddr]


def _listeners_of(pid: int) -> list[tuple[str, int, int | None]]:
    try:
        own = psutil.Process(pid).net_connections(kind="tcp")
    except psutil.Error:
        return []
    return [(c.laddr.ip, c.laddr.port, pid) for c in own if c.status == psutil.CONN_LISTEN and c.laddr]


def _name(pid: int) -> str:
    try:
        return psutil.Process(pid).name()
    except psutil.Error:
        return ""
