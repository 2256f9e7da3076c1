"""After an upgrade: bytes pass both ways as they come, each end may close its half."""

import asyncio
from collections.abc import Callable
from functools import partial

from joulegate.gateway.http.client_connection import ClientConnection
from joulegate.gateway.http.sockets import reset
from joulegate.gateway.spans.websocket_observation import WebsocketObservation
from joulegate.model import Outcome

Ended = Callable[[Outcome], None]


class Tunnel:
    """Joins two transports until both are closed."""

    def __init__(
        self,
        client: asyncio.Transport,
        upstream: asyncio.Transport,
        ended: Ended,
        listening: WebsocketObservation | None = None,
    ) -> None:
        self._ended: Ended | None = ended
        self._listening = listening
        self._transports = client, upstream
        self._halves = 0

    def start(self, client_rest: bytes, upstream_rest: bytes, client_lost: Callable[[], None]) -> None:
        """Accept the transports over; the rests have been read already, ``client_lost`` is called last."""
        client, upstream = self._transports
        sent = _Pipe(self, upstream, Outcome.CANCELLED, client_lost, self._heard(from_client=True))
        answered = _Pipe(self, client, Outcome.UPSTREAM_RESET, _nobody, self._heard(from_client=False))
        client.set_protocol(sent)
        upstream.set_protocol(answered)
        for transport, pipe, rest in ((upstream, sent, client_rest), (client, answered, upstream_rest)):
            if rest:
                pipe.data_received(rest)
            transport.resume_reading()

    def _heard(self, *, from_client: bool) -> Callable[[bytes], None] | None:
        """Return what hears the bytes of one direction."""
        return partial(self._listening.heard, from_client=from_client) if self._listening else None

    def abort(self) -> None:
        """Cut both connections."""
        for transport in self._transports:
            reset(transport)

    def half_closed(self) -> bool:
        """Record that one end sends no more; return whether the other one still may."""
        self._halves += 1
        if self._halves < 2:
            return True
        for transport in self._transports:
            transport.close()
        return False

    def lost(self, outcome: Outcome) -> None:
        """Record how the first of the two connections ended."""
        ended, self._ended = self._ended, None
        if ended:
            ended(outcome)


def join(
    client: ClientConnection,
    upstream: asyncio.Transport,
    rest: bytes,
    ended: Ended,
    listening: WebsocketObservation | None = None,
) -> Tunnel:
    """Join a client that has been answered 101 to the upstream. Raises ``ConnectionResetError``."""
    transport, client_rest = client.take_over()
    tunnel = Tunnel(transport, upstream, ended, listening)
    tunnel.start(client_rest, rest, lambda: client.connection_lost(None))
    return tunnel


class _Pipe(asyncio.Protocol):
    """What one transport hears, for the other one."""

    def __init__(
        self,
        tunnel: Tunnel,
        other: asyncio.Transport,
        fault: Outcome,
        lost: Callable[[], None],
        heard: Callable[[bytes], None] | None,
    ) -> None:
        self._tunnel = tunnel
        self._other = other
        self._fault = fault
        self._lost = lost
        self._heard = heard

    def data_received(self, data: bytes) -> None:
        if not self._other.is_closing():
            self._other.write(data)
        if self._heard:
            self._heard(data)

    def pause_writing(self) -> None:
        if not self._other.is_closing():
            self._other.pause_reading()

    def resume_writing(self) -> None:
        if not self._other.is_closing():
            self._other.resume_reading()

    def eof_received(self) -> bool:
        if not self._other.can_write_eof() or self._other.is_closing():
            return False  # TLS has no half-close here: the end of one half is the end.
        self._other.write_eof()
        return self._tunnel.half_closed()

    def connection_lost(self, error: Exception | None) -> None:
        if error:
            reset(self._other)
        else:
            self._other.close()
        self._tunnel.lost(self._fault if error else Outcome.OK)
        self._lost()


def _nobody() -> None:
    """Tell no one."""
