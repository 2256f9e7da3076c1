"""Looks at the Python, the packages, the clock, the ports and the upstreams of this machine."""

import asyncio
import errno
import platform
import socket
import ssl
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path

from joulegate import tls as trust
from joulegate.cli import admin
from joulegate.cli.findings import Finding, Mark
from joulegate.clock import monotonic
from joulegate.config.addresses import Address, Endpoint
from joulegate.config.environment import ledger_path
from joulegate.config.structs import Config, UpstreamConfig
from joulegate.errors import JoulegateError
from joulegate.ports.servers import ServerIdentity

NVIDIA_DRIVER = Path("/proc/driver/nvidia/version")
"""Written by NVIDIA's kernel module: it is there without NVML, and in a container."""

_PATIENCE = 2.0
_COARSE = 1_000_000
"""Nanoseconds; a clock with coarser steps than 1 ms blurs the order of chunks and samples."""


def look(config: Config) -> Iterator[Finding]:
    """Return all findings that need no energy source."""
    yield _python()
    yield _event_loop()
    yield _clock()
    yield _nvml_binding()
    yield from _nvidia_driver(NVIDIA_DRIVER)
    yield _port("proxy", config.listen.address, config)
    yield _port("metrics", config.listen.admin, config)
    yield _ledger(config)
    yield from _upstreams(config)
    yield from _leavings(config)


def _python() -> Finding:
    python = f"{platform.python_implementation()} {platform.python_version()}"
    found = f"{python} on {platform.system()} {platform.machine()}"
    if sys.platform == "linux":
        return Finding("python", Mark.GOOD, found)
    return Finding(
        "python", Mark.NOTE, found, "joulegate is made for Linux; energy sources of others are missing"
    )


def _event_loop() -> Finding:
    if find_spec("uvloop"):
        return Finding("event loop", Mark.GOOD, f"uvloop {version('uvloop')}")
    return Finding(
        "event loop", Mark.NOTE, "asyncio", "pip install uvloop takes less processor time per request"
    )


def _clock() -> Finding:
    step = smallest_step()
    mark = Mark.GOOD if step < _COARSE else Mark.NOTE
    return Finding("clock", mark, f"monotonic, smallest step seen {step} ns")


def smallest_step(reads: int = 2_000) -> int:
    """Return the smallest step of the monotonic clock between readings, in nanoseconds."""
    times = [monotonic() for _ in range(reads)]
    steps = [after - before for before, after in pairwise(times) if after > before]
    return min(steps, default=_COARSE)


def _nvml_binding() -> Finding:
    found = f"nvidia-ml-py {version('nvidia-ml-py')}"
    try:
        old = version("pynvml")
    except PackageNotFoundError:
        return Finding("NVML binding", Mark.GOOD, found)
    if int(old.split(".")[0]) >= 12:  # only a shell around nvidia-ml-py since then
        return Finding("NVML binding", Mark.GOOD, f"{found}, pynvml {old}")
    return Finding(
        "NVML binding", Mark.NOTE, f"{found} shadowed by the old pynvml {old}", "pip uninstall pynvml"
    )


def _nvidia_driver(path: Path) -> Iterator[Finding]:
    """Return the version of the kernel module; nothing is said where there is none."""
    try:
        first = path.read_text(errors="replace").partition("\n")[0]
    except OSError:
        return
    yield Finding("NVIDIA driver", Mark.GOOD, " ".join(first.removeprefix("NVRM version:").split()))


def _port(subject: str, address: Address, config: Config) -> Finding:
    text = str(address)
    try:
        family, kind, protocol, _, place = socket.getaddrinfo(
            address.host, address.port, type=socket.SOCK_STREAM
        )[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(place)
    except OSError as error:
        return _taken(subject, text, error, config)
    return Finding(subject, Mark.GOOD, f"{text} is free")


def _taken(subject: str, text: str, error: OSError, config: Config) -> Finding:
    option = "--listen" if subject == "proxy" else "--admin"
    if error.errno != errno.EADDRINUSE:
        return Finding(
            subject, Mark.BAD, f"{text}: {error.strerror}", f"choose another address with {option}"
        )
    try:
        running = admin.status(str(config.listen.admin))
    except JoulegateError:
        return Finding(
            subject, Mark.BAD, f"{text} is taken by another program", f"choose another one with {option}"
        )
    return Finding(subject, Mark.NOTE, f"{text}: joulegate {running.version} runs here already")


def _ledger(config: Config) -> Finding:
    path = ledger_path(config)
    if path == ":memory:":
        return Finding("ledger", Mark.NOTE, "kept in memory only: nothing outlives the meter")
    folder = next(parent for parent in Path(path).absolute().parents if parent.exists())
    trial = folder / f".joulegate-{monotonic()}"
    try:
        trial.touch(exist_ok=False)
        trial.unlink()
    except OSError as error:
        return Finding("ledger", Mark.BAD, f"{folder}: {error.strerror}", "choose another file with --ledger")
    return Finding("ledger", Mark.GOOD, f"{path} can be written")


def _upstreams(config: Config) -> Iterator[Finding]:
    from joulegate.gateway.servers.survey import survey  # late: the doctor starts without it

    if not config.upstream:
        return
    for upstream, servers in zip(config.upstream, asyncio.run(survey(config.upstream)), strict=True):
        for place, server in zip(upstream.endpoints, servers, strict=True):
            yield _upstream(upstream, place, server)


def _upstream(upstream: UpstreamConfig, place: Endpoint, server: ServerIdentity | None) -> Finding:
    subject = f"upstream {upstream.name}"
    if server is None:
        return _unreached(subject, upstream, place)
    models = ", ".join(server.models[:4]) + (" …" if len(server.models) > 4 else "")
    what = server.text() or "answers; server type not known"
    loading = "" if server.ready else ", still loading"
    return Finding(
        subject, Mark.GOOD, f"{place.text()}: {what}{loading}{f'; models: {models}' if models else ''}"
    )


def _unreached(subject: str, upstream: UpstreamConfig, place: Endpoint) -> Finding:
    try:
        with socket.create_connection((place.host, place.port), timeout=_PATIENCE) as connection:
            if place.scheme == "https":
                tls = trust.context(upstream.ca_file)
                tls.wrap_socket(connection, server_hostname=place.host).close()
    except ssl.SSLError as error:
        return Finding(subject, Mark.BAD, f"{place.text()}: {trust.reason(error)}", "requests get 502")
    except OSError as error:
        reason = trust.reason(error)
    else:
        reason = "accepts connections and does not answer"
    found = f"{place.text()}: {reason}"
    return Finding(subject, Mark.NOTE, found, "start the server; joulegate waits for it")


def _leavings(config: Config) -> Iterator[Finding]:
    """Ask the joulegate that runs here, if one does, which servers work on for clients that have left."""
    try:
        upstreams = admin.status(str(config.listen.admin)).upstreams
    except JoulegateError:
        return
    for upstream in upstreams:
        if upstream.keeps_working:
            found = "goes on working when a client has left: that energy is wasted"
            yield Finding(f"upstream {upstream.name}", Mark.NOTE, found, "see docs/disconnects.md")
