"""The load of the benchmarks: keep-alive connections on bare asyncio protocols."""

import asyncio
import re
import statistics
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import cast

PROMPT = "How many joules does one answer cost? " * 8
TIME = re.compile(rb'"content":" t(\d+)"')


def request(*, tokens: int | None = None) -> bytes:
    """Return one chat request; with ``tokens`` it asks for a stream of so many."""
    stream = (
        f',"stream":true,"stream_options":{{"include_usage":true}},"max_tokens":{tokens}' if tokens else ""
    )
    body = f'{{"model":"bench","messages":[{{"role":"user","content":"{PROMPT}"}}]{stream}}}'.encode()
    head = (
        "POST /v1/chat/completions HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\n"
        f"Accept: */*\r\nUser-Agent: bench/1\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


@dataclass
class Result:
    """What one load saw."""

    answers: int = 0
    chunks: int = 0
    latencies: list[int] = field(default_factory=list)
    """Nanoseconds from a request to its whole answer."""
    delays: list[int] = field(default_factory=list)
    """Nanoseconds from the sending of a streamed chunk by the scripted server to its arrival."""

    def latency(self) -> float:
        """Return the median latency in microseconds."""
        return statistics.median(self.latencies) / 1000

    def delay(self) -> float:
        """Return the median delay of a chunk in microseconds."""
        return statistics.median(self.delays) / 1000


class Client(asyncio.Protocol):
    """One connection that asks again as soon as it was answered, until told to stop."""

    def __init__(self, message: bytes, count: int, result: Result) -> None:
        self._message = message
        self._left = count
        self._result = result
        self._buffer = b""
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.started: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._ask()

    def connection_lost(self, error: Exception | None) -> None:
        if not self.done.done():
            self.done.set_exception(error or ConnectionError("closed early"))

    def _ask(self) -> None:
        self._asked = time.monotonic_ns()
        self._transport.write(self._message)

    def data_received(self, data: bytes) -> None:
        now = time.monotonic_ns()
        if not self.started.done():
            self.started.set_result(None)
        sent = TIME.findall(data)
        self._result.chunks += len(sent)
        self._result.delays.extend(now - int(time_sent) for time_sent in sent)
        self._buffer = (self._buffer + data) if not sent else data
        if self._whole():
            self._finish(now)

    def _whole(self) -> bool:
        end = self._buffer.find(b"\r\n\r\n")
        if self._buffer.endswith(b"0\r\n\r\n"):
            return True
        length = re.search(rb"content-length: *(\d+)", self._buffer[: max(end, 0)].lower())
        return length is not None and len(self._buffer) == end + 4 + int(length[1])

    def _finish(self, now: int) -> None:
        self._result.answers += 1
        self._result.latencies.append(now - self._asked)
        self._buffer = b""
        self._left -= 1
        if self._left:
            self._ask()
            return
        self.done.set_result(None)
        self._transport.close()


async def run(port: int, message: bytes, connections: int, each: int) -> Result:
    """Send ``each`` requests over each of the connections, all at once."""
    result = Result()
    clients = await _connect(port, message, connections, each, result)
    await asyncio.gather(*(client.done for client in clients))
    return result


async def hold(port: int, message: bytes, connections: int, inside: Callable[[], Awaitable[None]]) -> Result:
    """Open streams, await ``inside`` when all have begun, and wait for their end."""
    result = Result()
    clients = await _connect(port, message, connections, 1, result)
    await asyncio.gather(*(client.started for client in clients))
    await inside()
    await asyncio.gather(*(client.done for client in clients))
    return result


async def _connect(port: int, message: bytes, connections: int, each: int, result: Result) -> list[Client]:
    loop = asyncio.get_running_loop()
    clients = []
    for _ in range(connections):
        _, client = await loop.create_connection(lambda: Client(message, each, result), "127.0.0.1", port)
        clients.append(client)
    return clients
