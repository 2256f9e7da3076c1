"""A gate in front of scripted servers, and raw clients of it."""

import asyncio
import json
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from importlib import import_module
from typing import Any

import msgspec
import pytest

from joulegate.config import TimeoutConfig, UpstreamConfig
from joulegate.config.addresses import endpoint
from joulegate.gateway.gate import Gate
from joulegate.gateway.policy.settings import GateSettings
from joulegate.model import Asked, ServerTimings, SpanClosed, SpanEvent, SpanOpened, TaskFacts
from joulegate.ports import Conclusion, Headers, InferenceProtocol, Observer, Rewrite, Route
from joulegate.testing.upstream import Script, ScriptedUpstream
from joulegate.units import NANO, Nanoseconds, nanoseconds

PATIENCE = 10.0
"""Seconds after which a test that waits has failed."""


class Events:
    """Keeps all events and lets tests wait for them."""

    def __init__(self) -> None:
        self.all: list[SpanEvent] = []
        self._changed = asyncio.Event()

    def emit(self, event: SpanEvent) -> None:
        """Keep one."""
        self.all.append(event)
        self._changed.set()

    def of(self, kind: type) -> list[Any]:
        """Give those of a kind."""
        return [event for event in self.all if isinstance(event, kind)]

    async def closed(self, count: int = 1) -> SpanClosed:
        """Wait for so many ends; give the last."""
        return (await self.some(SpanClosed, count))[count - 1]

    async def opened(self, count: int = 1) -> SpanOpened:
        """Wait for so many beginnings; give the last."""
        return (await self.some(SpanOpened, count))[count - 1]

    async def some(self, kind: type, count: int = 1) -> list[Any]:
        """Wait for so many of a kind."""
        async with asyncio.timeout(PATIENCE):
            while len(self.of(kind)) < count:
                self._changed.clear()
                await self._changed.wait()
        return self.of(kind)


class Listening:
    """An observer of JSON that can be told to raise, to rewrite and to filter."""

    def __init__(self, protocol: "Known") -> None:
        self._protocol = protocol
        self.heard = b""
        self.answered = b""
        self.complete: bool | None = None

    def request_body(self, chunk: bytes) -> None:
        self._fault("request_body")
        self.heard += chunk

    def asked(self) -> Asked:
        self._fault("asked")
        try:
            body = json.loads(self.heard or b"{}")
        except ValueError:
            head = self.heard.partition(b'"model":"')[2].partition(b'"')[0]
            return Asked(model=head.decode() or None)
        return Asked(model=body.get("model"), stream=body.get("stream"))

    def rewrite(self, body: bytes) -> Rewrite | None:
        self._fault("rewrite")
        return self._protocol.rewrites(body) if self._protocol.rewrites else None

    def response_head(self, status: int, headers: Headers) -> None:
        self._fault("response_head")

    def response_body(self, t: Nanoseconds, chunk: bytes) -> int:
        self._fault("response_body")
        self.answered += chunk
        return len(chunk)

    def response_end(self, *, complete: bool) -> None:
        self._fault("response_end")
        assert self.complete is None, "the end was told twice"
        self.complete = complete

    def facts(self) -> TaskFacts:
        self._fault("facts")
        return TaskFacts()

    def timings(self) -> ServerTimings:
        self._fault("timings")
        return ServerTimings()

    def model(self) -> str | None:
        return self._protocol.answering

    def conclusion(self) -> Conclusion:
        return Conclusion.NONE

    def streamed(self) -> bool:
        return self._protocol.streams

    def _fault(self, method: str) -> None:
        if method == self._protocol.fault:
            raise ValueError(f"{method} cannot read this")


class Known:
    """A protocol that knows every path below /v1."""

    def __init__(
        self,
        *,
        fault: str = "",
        rewrites: Callable[[bytes], Rewrite | None] | None = None,
        streams: bool = True,
        answering: str | None = None,
        dialect: str = "openai",
    ) -> None:
        self.fault = fault
        self.rewrites = rewrites
        self.streams = streams
        self.answering = answering
        self.dialect = dialect
        self.observers: list[Listening] = []

    def matches(self, method: str, path: str) -> Route | None:
        return Route("chat.completions", dialect=self.dialect) if path.startswith("/v1") else None

    def observer(self, route: Route, headers: Headers) -> Observer:
        self.observers.append(Listening(self))
        return self.observers[-1]


class Client:
    """A raw connection to the gate."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def ask(
        self, target: str = "/v1/x", *, method: str = "POST", body: bytes = b"", fields: bytes = b""
    ) -> None:
        """Send a request; ``fields`` are whole lines."""
        head = f"{method} {target} HTTP/1.1\r\nHost: test\r\n".encode() + fields
        length = b"Content-Length: %d\r\n" % len(body) if body or method == "POST" else b""
        await self.send(head + length + b"\r\n" + body)

    async def head(self) -> tuple[int, dict[str, str]]:
        """Read the head of an answer; names in lower case."""
        async with asyncio.timeout(PATIENCE):
            raw = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *lines = raw.split("\r\n")[:-2]
        pairs = [line.partition(":") for line in lines]
        return int(first.split(" ")[1]), {name.lower(): value.strip() for name, _, value in pairs}

    async def answer(self, method: str = "POST") -> tuple[int, dict[str, str], bytes]:
        """Read a whole answer; raises ``IncompleteReadError`` if it is cut."""
        status, fields = await self.head()
        return status, fields, await self.body(status, fields, method)

    async def body(self, status: int, fields: Mapping[str, str], method: str = "POST") -> bytes:
        async with asyncio.timeout(PATIENCE):
            if method == "HEAD" or status in {204, 304}:
                return b""
            if "chunked" in fields.get("transfer-encoding", ""):
                return b"".join([chunk async for chunk in self.chunks()])
            if "content-length" in fields:
                return await self.reader.readexactly(int(fields["content-length"]))
            return await self.reader.read()

    async def chunks(self) -> AsyncIterator[bytes]:
        while size := int(await self.reader.readuntil(b"\r\n"), 16):
            yield (await self.reader.readexactly(size + 2))[:-2]
        await self.reader.readexactly(2)

    async def closed(self) -> bytes:
        """Wait until the gate closes; give what came before."""
        async with asyncio.timeout(PATIENCE):
            try:
                return await self.reader.read()
            except ConnectionResetError:
                return b""

    def close(self) -> None:
        self.writer.close()

    def reset(self) -> None:
        connection = self.writer.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


class Bench:
    """A gate, its upstreams, its events and its clients."""

    def __init__(self, stack: AsyncExitStack, gate: Gate, events: Events) -> None:
        self._stack = stack
        self.gate = gate
        self.events = events

    def connections(self) -> int:
        """Give how many clients are connected."""
        return len(self.gate._server.clients) if self.gate._server else 0

    async def client(self, *, buffer: int | None = None) -> Client:
        """Connect; ``buffer`` bounds what the operating system takes in for the client."""
        peer = socket.socket()
        if buffer:
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        peer.setblocking(False)
        await asyncio.get_running_loop().sock_connect(peer, ("127.0.0.1", self.gate.port))
        reader, writer = await asyncio.open_connection(sock=peer, limit=buffer or 2**20)
        self._stack.callback(writer.close)
        return Client(reader, writer)


def _timeouts(**changed: float) -> TimeoutConfig:
    """Give generous timeouts with some of them, in seconds, changed."""
    base = TimeoutConfig(*(Nanoseconds(8 * NANO) for _ in TimeoutConfig.__struct_fields__))
    return msgspec.structs.replace(base, **{name: nanoseconds(value) for name, value in changed.items()})


Start = Callable[..., Awaitable[Bench]]


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Gives the loop that gates run on: uvloop, where there is one."""
    try:
        return {"uvloop": import_module("uvloop").new_event_loop}
    except ImportError:
        return {"asyncio": asyncio.new_event_loop}


@pytest.fixture
async def start() -> AsyncIterator[Start]:
    """Starts a gate in front of targets or of scripted upstreams; all ends with the test."""
    async with AsyncExitStack() as stack:

        async def begin(
            *targets: UpstreamConfig | ScriptedUpstream,
            protocols: Mapping[str, InferenceProtocol] | None = None,
            **settings: Any,
        ) -> Bench:
            events = Events()
            upstreams = tuple(
                item if isinstance(item, UpstreamConfig) else _target(item, name=f"upstream{number or ''}")
                for number, item in enumerate(targets)
            )
            chosen = GateSettings(upstreams=upstreams, **({"timeouts": _timeouts()} | settings))
            gate = Gate(
                chosen, protocols if protocols is not None else {"known": Known()}, events, gate_id="g"
            )
            await gate.start("127.0.0.1", 0, reuse_port=False)
            stack.push_async_callback(gate.drain, Nanoseconds(0))
            return Bench(stack, gate, events)

        yield begin


@pytest.fixture
async def serve() -> AsyncIterator[Callable[..., Awaitable[ScriptedUpstream]]]:
    """Starts scripted upstreams that end with the test."""
    async with AsyncExitStack() as stack:

        async def begin(script: Script, *, tls: ssl.SSLContext | None = None) -> ScriptedUpstream:
            return await stack.enter_async_context(ScriptedUpstream(script, tls=tls))

        yield begin


def _target(upstream: ScriptedUpstream, *, name: str = "upstream", **rules: Any) -> UpstreamConfig:
    """Give the configuration of a scripted upstream."""
    return UpstreamConfig(name=name, endpoints=(endpoint(upstream.url),), **rules)


@pytest.fixture
def target() -> Callable[..., UpstreamConfig]:
    """Gives the configuration of a scripted upstream."""
    return _target


@pytest.fixture
def timeouts() -> Callable[..., TimeoutConfig]:
    """Gives timeouts, some of them changed, in seconds."""
    return _timeouts


@pytest.fixture
def known() -> type[Known]:
    """A protocol that knows every path below /v1."""
    return Known


@pytest.fixture
def soon() -> Callable[[], asyncio.Timeout]:
    """Fails what takes too long: ``async with soon(): ...``."""
    return lambda: asyncio.timeout(PATIENCE)
