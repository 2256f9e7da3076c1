"""One answer on its way: to the client first, then to the observer."""

from aiohttp.http_parser import RawResponseMessage

from joulegate.gateway.answer import AnswerWriter
from joulegate.gateway.client import ClientConnection
from joulegate.gateway.headers import forwarded, index, response_head
from joulegate.gateway.observation import Observation
from joulegate.gateway.span import Span
from joulegate.gateway.wish import Wish, reason_of
from joulegate.ports import ResponseFilter
from joulegate.units import Nanoseconds


class Passage:
    """Passes the parts of an answer on, without what the client did not ask for."""

    __slots__ = ("_observation", "_unheard", "_wish", "span", "strip", "writer")

    def __init__(self, client: ClientConnection, wish: Wish, span: Span, observation: Observation) -> None:
        self._wish = wish
        self.span = span
        self._observation = observation
        self._unheard: RawResponseMessage | None = None
        self.writer = AnswerWriter(client)
        self.strip: ResponseFilter | None = None

    def begin(self, message: RawResponseMessage, *, keep_alive: bool) -> None:
        """Pass the head on."""
        headers, wish = message.raw_headers, self._wish
        known = index(headers)
        if b"content-encoding" in known or message.code >= 300:
            self.strip = None  # Not what was asked for, or not to be read: it passes as it is.
        answer = wish.answer(message, known.get(b"content-length"), changed=self.strip is not None)
        fields = forwarded(headers, ours=not wish.extra)
        self.writer.begin(answer, reason_of(message), fields, extra=wish.extra, close=not keep_alive)
        self._unheard = message

    def interim(self, message: RawResponseMessage) -> None:
        """Pass a 1xx on."""
        self.writer.interim(
            response_head(message.code, reason_of(message), forwarded(message.raw_headers), b"")
        )

    def switch(self, message: RawResponseMessage) -> None:
        """Pass a 101 on: the last that is said in HTTP."""
        lines = self._wish.extra + b"Connection: Upgrade\r\nUpgrade: websocket\r\n"
        fields = forwarded(message.raw_headers, ours=not self._wish.extra)
        self.writer.interim(response_head(message.code, reason_of(message), fields, lines))

    def body(self, t: Nanoseconds, chunk: bytes) -> None:
        """Pass a part of the body on."""
        self.writer.write(self.strip.feed(chunk) if self.strip else chunk)
        self._hear_head()
        self.span.received(t, chunk)

    def pause(self) -> None:
        """Pass on what there is."""
        self.writer.flush()
        self._hear_head()

    def end(self) -> None:
        """Pass the end on."""
        if self.strip:
            self.writer.write(self.strip.finish())
        self.writer.end()
        self._hear_head()

    def _hear_head(self) -> None:
        """Let the observer have the head, once the client has been sent it."""
        message, self._unheard = self._unheard, None
        if message:
            self._observation.response_head(message.code, message.raw_headers)
