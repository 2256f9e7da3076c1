"""What the gate itself says to a client: one table from outcome to status, in the caller's dialect."""

import json
from collections.abc import Callable, Mapping
from functools import cache
from types import MappingProxyType
from typing import Any

from msgspec import Struct

from joulegate import plugins
from joulegate.gateway.http.headers import status_lines
from joulegate.log import logger
from joulegate.model import Outcome
from joulegate.ports import WritesErrors


class Refusal(Struct, frozen=True):
    """An answer of the gate's own."""

    status: int
    code: str
    """Stable word for programs."""
    message: str


FAILURES: dict[Outcome, tuple[int, str]] = {
    Outcome.UPSTREAM_REFUSED: (502, "the upstream cannot be reached"),
    Outcome.UPSTREAM_RESET: (502, "the upstream closed the connection before it answered"),
    Outcome.UPSTREAM_TRUNCATED: (502, "the upstream's answer broke off"),
    Outcome.UPSTREAM_PROTOCOL_ERROR: (502, "the upstream's answer is not valid HTTP"),
    Outcome.UPSTREAM_TIMEOUT: (504, "the upstream did not answer in time"),
    Outcome.STREAM_IDLE_TIMEOUT: (504, "the upstream's answer came to a stop"),
    Outcome.CLIENT_TIMEOUT: (408, "the request body did not arrive in time"),
    Outcome.ORPHANED: (503, "the gate is going away"),
}
"""Every way to fail before the head of an answer."""

_REASONS = {
    400: b"Bad Request", 404: b"Not Found", 405: b"Method Not Allowed", 408: b"Request Timeout",
    431: b"Request Header Fields Too Large", 500: b"Internal Server Error", 502: b"Bad Gateway",
    503: b"Service Unavailable", 504: b"Gateway Timeout",
}  # fmt: skip

Form = Callable[[int, str, str], object]
"""The JSON document of an error, from status, code and message."""


def failure(outcome: Outcome, detail: str = "") -> Refusal:
    """Return the answer for a request that failed with this outcome."""
    status, message = FAILURES[outcome]
    return Refusal(status, outcome.value, f"{message}: {detail}" if detail else message)


def response(refusal: Refusal, dialect: str, *, method: str, close: bool, extra: bytes = b"") -> bytes:
    """Return head and body; ``extra`` is whole header lines with their ends."""
    body, kind = _body(refusal, dialect)
    framing = b"Content-Length: %d\r\n%b%b" % (len(body), extra, b"Connection: close\r\n" if close else b"")
    reason = _REASONS.get(refusal.status, b"Error")
    head = status_lines(refusal.status, reason, [(b"Content-Type", kind)]) + framing + b"\r\n"
    return head if method == "HEAD" else head + body


@cache
def forms() -> Mapping[str, Form]:
    """Return how each protocol and server that has a form of its own writes errors.

    Looking for plug-ins reads folders, for 15 ms: a gate calls this before it listens.
    """
    kinds: tuple[plugins.PluginKind[Any], ...] = (
        plugins.SERVERS,
        plugins.PROTOCOLS,
    )  # a protocol's comes first
    named = [(name, plugin) for kind in kinds for name, plugin in plugins.build_all(kind)[0].items()]
    return MappingProxyType({name: one.error for name, one in named if isinstance(one, WritesErrors)})


def form_of(dialect: str) -> Form | None:
    """Return how the protocol or the server of this name writes errors; ``None`` is a line of text."""
    return forms().get(dialect)


def _body(refusal: Refusal, dialect: str) -> tuple[bytes, bytes]:
    message = f"joulegate: {refusal.message}"
    try:
        form = form_of(dialect)
        if form is not None:
            return json.dumps(form(refusal.status, refusal.code, message)).encode(), b"application/json"
    except Exception as error:  # noqa: BLE001, RUF100 (a plug-in may raise anything; the client gets an answer)
        logger("gateway").warning("dialect.failed", dialect=dialect, error=repr(error))
    return f"{message}\n".encode("utf-8", "replace"), b"text/plain; charset=utf-8"
