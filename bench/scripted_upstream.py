"""The scripted inference server of the benchmarks: answers at once, streams at a set rate.

    python bench/scripted_upstream.py PORT

``POST /v1/chat/completions`` answers 1.5 KiB of chat JSON with usage; with ``"stream":true`` in the body it
streams ``max_tokens`` server-sent events at ``RATE`` a second, each with its send time in it.
"""

import asyncio
import json
import re
import sys
import time
from typing import cast

import uvloop

RATE = 50
ANSWER = json.dumps(
    {
        "id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "bench",
        "choices": [{"index": 0, "finish_reason": "stop",
                     "message": {"role": "assistant", "content": "energy " * 180}}],
        "usage": {"prompt_tokens": 21, "completion_tokens": 180, "total_tokens": 201},
    }
).encode()  # fmt: skip
WHOLE = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(ANSWER) + ANSWER
)
STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
USAGE = b'{"choices":[],"usage":{"prompt_tokens":21,"completion_tokens":%d,"total_tokens":%d}}'


def chunked(event: bytes) -> bytes:
    """Return one server-sent event as one HTTP chunk."""
    line = b"data: " + event + b"\n\n"
    return b"%x\r\n" % len(line) + line + b"\r\n"


class Mock(asyncio.Protocol):
    """One connection."""

    def __init__(self) -> None:
        self._buffer = b""
        self._tokens = 0
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, _: Exception | None) -> None:
        if self._timer:
            self._timer.cancel()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            head = self._buffer[:end].lower()
            length = re.search(rb"content-length: *(\d+)", head)
            total = end + 4 + (int(length[1]) if length else 0)
            if len(self._buffer) < total:
                return
            body, self._buffer = self._buffer[end + 4 : total], self._buffer[total:]
            self._answer(body)

    def _answer(self, body: bytes) -> None:
        if b'"stream":true' not in body:
            self._transport.write(WHOLE)
            return
        wanted = re.search(rb'"max_tokens": *(\d+)', body)
        self._sent, self._tokens = 0, int(wanted[1]) if wanted else 100
        self._transport.write(STREAM)
        self._token()

    def _token(self) -> None:
        if self._sent == self._tokens:
            usage = USAGE % (self._tokens, self._tokens + 21)
            self._transport.write(chunked(usage) + chunked(b"[DONE]") + b"0\r\n\r\n")
            return
        self._sent += 1
        event = (
            b'{"id":"c","object":"chat.completion.chunk","choices":[{"index":0,"delta":{"content":" t%d"}}]}'
        )
        self._transport.write(chunked(event % time.monotonic_ns()))
        self._timer = asyncio.get_running_loop().call_later(1 / RATE, self._token)


async def serve(port: int) -> None:
    """Serve until killed."""
    server = await asyncio.get_running_loop().create_server(Mock, "127.0.0.1", port, backlog=4096)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1])))
