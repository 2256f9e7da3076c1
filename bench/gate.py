"""What the gate's own code costs per request and per streamed chunk, without sockets and without a meter.

    python bench/gate.py [--profile]

The client's and the upstream's transports are objects in memory, so this is the part of the cost that the
code decides; ``bench/relay.py`` has the whole one. Figures are microseconds, the least of several runs: a
busy machine makes a run longer, nothing makes it shorter.
"""

import argparse
import asyncio
import cProfile
import gc
import pstats
import time
import tracemalloc
from collections.abc import Callable
from typing import Any

import load
import scripted_upstream
import uvloop

from joulegate import clock
from joulegate.app.memory import collect_seldom
from joulegate.app.protocols import protocols
from joulegate.channel.sender import EventSender
from joulegate.config import UpstreamConfig
from joulegate.config.addresses import endpoint
from joulegate.gateway.exchange.dispatcher import Dispatcher
from joulegate.gateway.gate_context import GateContext
from joulegate.gateway.http.body import BodyTerms
from joulegate.gateway.http.client_connection import ClientServer
from joulegate.gateway.http.upstream_connection import UpstreamConnection
from joulegate.gateway.policy.settings import GateSettings
from joulegate.gateway.upstreams import Upstreams
from joulegate.model import GateReport, SpanClosed, SpanEvent

RUNS = 15
REQUESTS = 2000
STREAMS, CHUNKS = 20, 100
EVENT = b'{"id":"c","object":"chat.completion.chunk","choices":[{"index":0,"delta":{"content":" t%d"}}]}'


class Pipe(asyncio.Transport):
    """A transport that takes everything and keeps nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.closing = False

    def write(self, data: Any) -> None:
        del data

    def writelines(self, pieces: Any) -> None:
        del pieces

    def is_closing(self) -> bool:
        return self.closing

    def close(self) -> None:
        self.closing = True

    abort = close


class Nobody:
    """Takes events and forgets them."""

    def emit(self, event: SpanEvent) -> None:
        del event

    def settle(self) -> None:
        pass


class Sending:
    """The gate's end of the channel, whose meter settles everything at once."""

    def __init__(self) -> None:
        self._sender = EventSender(asyncio.Event().wait, lambda: GateReport("g", 1))  # type: ignore[arg-type]
        self._closed: list[Any] = []
        self._emit = self._sender.emit

    def emit(self, event: SpanEvent) -> None:
        self._emit(event)
        if isinstance(event, SpanClosed):
            self._closed.append(event.id)

    def settle(self) -> None:
        self._sender._retained.settle(self._closed)  # noqa: SLF001 (what a meter's answer does)
        self._closed.clear()


class Bench:
    """A gate between two pipes."""

    def __init__(self, sink: Any) -> None:
        target = UpstreamConfig("llm", (endpoint("http://127.0.0.1:1"),))
        self.sink = sink
        context = GateContext(GateSettings((target,)), sink, clock.monotonic, clock.wall)
        upstreams = Upstreams((target,), context, protocols())
        self.pool = next(iter(upstreams)).replicas[0].pool
        self.server = ClientServer(
            Dispatcher(context, upstreams, protocols()).handle,
            clock=clock.monotonic,
            malformed=context.refuse,
            head_patience=context.settings.timeouts.head,
            keep_alive=context.settings.timeouts.keep_alive,
            body_terms=BodyTerms(context.settings.timeouts.body, clock.monotonic, context.watchdog),
            hangups=context.hangups,
        )

    def pair(self) -> tuple[Any, UpstreamConnection]:
        """Return a client's connection and an idle one of the upstream's."""
        client = self.server()
        client.connection_made(Pipe())
        upstream = UpstreamConnection(clock.monotonic, self.pool.known, self.pool.keep)
        upstream.connection_made(Pipe())
        self.keep(upstream)
        return client, upstream

    def keep(self, upstream: UpstreamConnection) -> None:
        upstream.idle_since = clock.monotonic()
        self.pool.keep(upstream)

    def unary(self) -> Callable[[], int]:
        client, upstream = self.pair()
        ask, answer = load.request(), scripted_upstream.WHOLE

        def run() -> int:
            for _ in range(REQUESTS):
                client.data_received(ask)
                upstream.data_received(answer)
            self.sink.settle()
            return REQUESTS

        return run

    def streams(self) -> Callable[[], int]:
        ask = load.request(tokens=CHUNKS)
        chunks = [scripted_upstream.chunked(EVENT % clock.monotonic()) for _ in range(CHUNKS)]
        end = (
            scripted_upstream.chunked(scripted_upstream.USAGE % (CHUNKS, CHUNKS + 21))
            + scripted_upstream.chunked(b"[DONE]")
            + b"0\r\n\r\n"
        )
        pairs = [self.pair() for _ in range(STREAMS)]

        def run() -> int:
            for client, _ in pairs:
                client.data_received(ask)
            for _, upstream in pairs:
                upstream.data_received(scripted_upstream.STREAM)
            for chunk in chunks:
                for _, upstream in pairs:
                    upstream.data_received(chunk)
            for _, upstream in pairs:
                upstream.data_received(end)
            self.sink.settle()
            return STREAMS * CHUNKS

        return run

    def held(self, count: int = 500) -> float:
        """Return the bytes that one open stream takes, beside its two transports."""
        ask, chunk = load.request(tokens=CHUNKS), scripted_upstream.chunked(EVENT % clock.monotonic())
        pairs = [self.pair() for _ in range(count)]
        gc.collect()
        tracemalloc.start()
        before = tracemalloc.get_traced_memory()[0]
        for client, _ in pairs:
            client.data_received(bytes(bytearray(ask)))
        for _, upstream in pairs:
            upstream.data_received(bytes(bytearray(scripted_upstream.STREAM)))
        for _ in range(10):
            for _, upstream in pairs:
                upstream.data_received(bytes(bytearray(chunk)))
        gc.collect()
        taken = (tracemalloc.get_traced_memory()[0] - before) / count
        tracemalloc.stop()
        return taken


def least(run: Callable[[], int]) -> float:
    """Return the microseconds of one unit in the quickest run."""
    times = []
    for _ in range(RUNS):
        gc.collect()
        before = time.process_time_ns()
        units = run()
        times.append((time.process_time_ns() - before) / units)
    return min(times) / 1000


async def main(*, profile: bool) -> None:
    """Print the figures."""
    collect_seldom()
    for name, sink in (("without events", Nobody), ("with events", Sending)):
        bench = Bench(sink())
        print(f"{name}: {least(bench.unary()):.1f} us per request, {least(bench.streams()):.2f} us per chunk")
    print(
        f"an open stream takes {Bench(Nobody()).held():.0f} bytes, {Bench(Sending()).held():.0f} with events"
    )
    if profile:
        for kind in ("unary", "streams"):
            run = getattr(Bench(Sending()), kind)()
            profiler = cProfile.Profile()
            profiler.runcall(run)
            pstats.Stats(profiler).sort_stats("tottime").print_stats(32)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--profile", action="store_true")
    uvloop.run(main(profile=parser.parse_args().profile))
