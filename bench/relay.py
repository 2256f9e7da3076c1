"""What the relay costs, as ratios to nginx, to Envoy and to a plain aiohttp relay in one alternated run.

    python bench/relay.py [--rounds 5] [--write]

Each proxy is pinned to one processor, the scripted server and the load to the other. In every round each
proxy carries the same load in turn, so that a drift of the machine meets all of them. Figures are
processor time of the whole process tree for one unit of work, read from the operating system. ``--write``
puts the tables into ``docs/performance.md``. Needs two processors, nginx, and the environment of
joulegate's tests, which holds Envoy on x86_64.
"""

import argparse
import asyncio
import json
import os
import platform
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import load
import psutil
import uvloop

HERE = Path(__file__).parent
PROXY_CPU, LOAD_CPU = 0, 1
UNARY = (64, 300)
"""Connections, and requests over each."""
SINGLE = (1, 1500)
STREAMS = (256, 100)
"""Streams, and tokens of each at 50 a second."""
HELD = (1000, 200)
WARM = (100, 50)
"""Streams and tokens before memory is looked at: what is made once is no cost of a stream."""
SETTLE = 8.0
"""Seconds; figures are final after half of it and the next fit."""
GATES = "its gates alone"
REQUEST = "CPU per request, 64 connections (us)"
LATENCY = "median latency, 1 connection (us)"
CHUNK = "CPU per SSE chunk, 256 streams (us)"
DELAY = "median delay of an SSE chunk, 256 streams (us)"
MEMORY = "RSS per open stream, 1000 streams (KiB)"
PAGE = HERE.parent / "docs" / "performance.md"
MARKS = "<!-- figures: begin -->", "<!-- figures: end -->"


@dataclass(frozen=True)
class Peer:
    """One proxy under test: its processes and its port."""

    name: str
    process: psutil.Process
    port: int
    settle: float = 0.0
    """Seconds until the work of a load is done: joulegate settles requests after they have ended."""

    def tree(self) -> list[psutil.Process]:
        """Return all its processes."""
        return [self.process, *self.process.children(recursive=True)]

    def gates(self) -> list[psutil.Process]:
        """Return those of its processes that relay, if not all of them do."""
        return [process for process in self.tree() if "gate" in process.cmdline()]


def cpu(processes: list[psutil.Process]) -> float:
    """Return the processor seconds of these processes so far."""
    return sum(sum(process.cpu_times()[:2]) for process in processes)


def memory(processes: list[psutil.Process]) -> int:
    """Return the resident bytes of these processes."""
    return sum(process.memory_info().rss for process in processes)


def main() -> None:
    """Run the rounds and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--write", action="store_true")
    arguments = parser.parse_args()
    os.sched_setaffinity(0, {LOAD_CPU})
    with ExitStack() as stack:
        upstream = stack.enter_context(_mock())
        peers = [stack.enter_context(start(upstream)) for start in (_nginx, _envoy, _aiohttp, _joulegate)]
        held: dict[str, float] = {}
        for peer in peers:  # first: later loads find room of earlier ones
            held |= uvloop.run(_hold(peer))
        rounds = [_round(peers, number) for number in range(arguments.rounds)]
    page = _page(rounds, held)
    print(page)
    if arguments.write:
        _write(page)


def _round(peers: list[Peer], number: int) -> dict[str, dict[str, float]]:
    turn = number % len(peers)
    figures: dict[str, dict[str, float]] = {}
    for peer in peers[turn:] + peers[:turn]:
        figures |= uvloop.run(_measure(peer))
    print(f"round {number + 1}: {json.dumps(figures)}", file=sys.stderr, flush=True)
    return figures


async def _measure(peer: Peer) -> dict[str, dict[str, float]]:
    """Return the figures of a peer, and the processor time of those of its processes that relay."""
    tree, gates = peer.tree(), peer.gates()
    await load.run(peer.port, load.request(), 16, 20)
    await asyncio.sleep(peer.settle)
    before = cpu(tree), cpu(gates)
    unary = await load.run(peer.port, load.request(), *UNARY)
    await asyncio.sleep(peer.settle)
    between = cpu(tree), cpu(gates)
    single = await load.run(peer.port, load.request(), *SINGLE)
    await asyncio.sleep(peer.settle)
    streaming = cpu(tree), cpu(gates)
    streams = await load.run(peer.port, load.request(tokens=STREAMS[1]), STREAMS[0], 1)
    await asyncio.sleep(peer.settle)
    after = cpu(tree), cpu(gates)
    whole, alone = (
        {
            REQUEST: 1e6 * (between[part] - before[part]) / unary.answers,
            CHUNK: 1e6 * (after[part] - streaming[part]) / streams.chunks,
        }
        for part in (0, 1)
    )
    whole |= {LATENCY: single.latency(), DELAY: streams.delay()}
    return {peer.name: whole} | ({GATES: alone} if gates else {})


async def _hold(peer: Peer) -> dict[str, float]:
    """Return the resident KiB for one open stream."""
    connections, tokens = HELD
    tree, gates = peer.tree(), peer.gates()
    await load.run(peer.port, load.request(tokens=WARM[1]), WARM[0], 1)
    before = memory(tree), memory(gates)
    grown: list[tuple[int, int]] = []

    async def look() -> None:
        grown.append((memory(tree) - before[0], memory(gates) - before[1]))

    await load.hold(peer.port, load.request(tokens=tokens), connections, look)
    whole, alone = (size / 1024 / connections for size in grown[0])
    return {peer.name: whole} | ({GATES: alone} if gates else {})


@contextmanager
def _mock() -> Iterator[int]:
    port = _free_port()
    with _process([sys.executable, str(HERE / "scripted_upstream.py"), str(port)], port, LOAD_CPU):
        yield port


@contextmanager
def _nginx(upstream: int) -> Iterator[Peer]:
    program = shutil.which("nginx", path=os.environ["PATH"] + ":/usr/sbin")
    if program is None:
        raise SystemExit("nginx is not installed: apt-get install nginx-light")
    port = _free_port()
    with tempfile.TemporaryDirectory() as prefix:
        text = (HERE / "peers" / "nginx.conf").read_text()
        for word, value in (("PREFIX", prefix), ("UPSTREAM", str(upstream)), ("PORT", str(port))):
            text = text.replace(word, value)
        config = Path(prefix) / "nginx.conf"
        config.write_text(text)
        with _process([program, "-p", prefix, "-c", str(config)], port, PROXY_CPU) as process:
            yield Peer("nginx", process, port)


@contextmanager
def _envoy(upstream: int) -> Iterator[Peer]:
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
    program = shutil.which("envoy", path=path)
    if program is None:
        raise SystemExit("Envoy is not installed: it is part of requirements/test.txt on x86_64")
    port = _free_port()
    with tempfile.NamedTemporaryFile("w", suffix=".json") as config:
        text = (HERE / "peers" / "envoy.json").read_text()
        config.write(text.replace("PORT", str(port)).replace("UPSTREAM", str(upstream)))
        config.flush()
        command = [program, "-c", config.name, "--concurrency", "1", "--use-dynamic-base-id", "-l", "off"]
        with _process(command, port, PROXY_CPU) as process:
            yield Peer("Envoy", process, port)


@contextmanager
def _aiohttp(upstream: int) -> Iterator[Peer]:
    port = _free_port()
    command = [sys.executable, str(HERE / "peers" / "aiohttp_relay.py"), str(port), str(upstream)]
    with _process(command, port, PROXY_CPU) as process:
        yield Peer("plain aiohttp", process, port)


@contextmanager
def _joulegate(upstream: int) -> Iterator[Peer]:
    port, admin = _free_port(), _free_port()
    command = [
        sys.executable, "-m", "joulegate", "run", "--upstream", f"http://127.0.0.1:{upstream}",
        "--listen", f"127.0.0.1:{port}", "--admin", f"127.0.0.1:{admin}", "--source", "fake",
        "--ledger", ":memory:", "--quiet",
    ]  # fmt: skip
    with tempfile.NamedTemporaryFile("w", suffix=".toml") as config:
        config.write(f'[attribution]\nsettle = "{SETTLE / 2} s"\n')
        config.flush()
        with _process([*command, "--config", config.name], port, PROXY_CPU) as process:
            yield Peer("joulegate", process, port, SETTLE)


@contextmanager
def _process(command: list[str], port: int, cpu: int) -> Iterator[psutil.Process]:
    child = subprocess.Popen(command, preexec_fn=lambda: os.sched_setaffinity(0, {cpu}))
    try:
        _wait(child, port)
        yield psutil.Process(child.pid)
    finally:
        child.terminate()
        child.wait(timeout=60)


def _wait(child: "subprocess.Popen[bytes]", port: int) -> None:
    for _ in range(300):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        try:
            raise SystemExit(f"{child.args} ended with {child.wait(timeout=0.1)}")
        except subprocess.TimeoutExpired:
            continue
    raise SystemExit(f"{child.args} does not listen on {port}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _page(rounds: list[dict[str, dict[str, float]]], held: dict[str, float]) -> str:
    names = ["nginx", "Envoy", "plain aiohttp", "joulegate", GATES]
    ratios = [
        ("joulegate", "nginx"),
        ("joulegate", "Envoy"),
        ("joulegate", "plain aiohttp"),
        (GATES, "plain aiohttp"),
    ]
    rows = [["figure (median of rounds)", *names, *(" / ".join(pair) for pair in ratios)]]
    for figure in (REQUEST, LATENCY, CHUNK, DELAY):
        medians = [_median([each[name].get(figure) for each in rounds], 0) for name in names]
        parts = [
            _median([_ratio(each[one].get(figure), each[other].get(figure)) for each in rounds], 2)
            for one, other in ratios
        ]
        rows.append([figure, *medians, *parts])
    rows.append(
        [MEMORY, *(f"{held[name]:.1f}" for name in names)]
        + [f"{held[one] / held[other]:.2f}" for one, other in ratios]
    )
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    lines.insert(1, "|---" * len(rows[0]) + "|")
    machine = f"Python {platform.python_version()}, {platform.machine()}, {len(rounds)} alternated rounds."
    return "\n".join([machine, "", *lines])


def _ratio(one: float | None, other: float | None) -> float | None:
    return None if one is None or other is None else one / other


def _median(values: list[float | None], digits: int) -> str:
    known = [value for value in values if value is not None]
    return f"{statistics.median(known):.{digits}f}" if known else ""


def _write(page: str) -> None:
    text = PAGE.read_text()
    head, rest = text.split(MARKS[0])
    _, tail = rest.split(MARKS[1])
    PAGE.write_text(f"{head}{MARKS[0]}\n{page}\n{MARKS[1]}{tail}")


if __name__ == "__main__":
    main()
