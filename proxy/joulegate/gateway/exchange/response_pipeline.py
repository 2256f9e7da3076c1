"""One answer on its way: to the client first, then to the observer."""

from collections.abc import Callable

from joulegate.gateway.exchange.answer_context import AnswerContext
from joulegate.gateway.exchange.answer_writer import AnswerWriter
from joulegate.gateway.exchange.observation import Observation
from joulegate.gateway.exchange.request_span import RequestSpan
from joulegate.gateway.exchange.websocket_observation import WebsocketObservation
from joulegate.gateway.http.client_connection import ClientConnection
from joulegate.gateway.http.encodings import decoder
from joulegate.gateway.http.framing import Framing, answer_lines, framing_of
from joulegate.gateway.http.headers import forwarded, status_lines
from joulegate.gateway.http.heads import ResponseHead
from joulegate.ports import Headers, ResponseFilter
from joulegate.units import Nanoseconds


class ResponsePipeline:
    """Passes the parts of an answer on, without what the client did not ask for."""

    __slots__ = ("_client", "_observation", "_straight", "_unheard", "_wish", "span", "strip", "writer")

    def __init__(
        self, client: ClientConnection, wish: AnswerContext, span: RequestSpan, observation: Observation
    ) -> None:
        self._client = client
        self._wish = wish
        self._straight = False
        """Chunks may go on as they come: head and observer wait for nothing."""
        self.span = span
        self._observation = observation
        self._unheard: ResponseHead | None = None
        self.writer = AnswerWriter(client)
        self.strip: ResponseFilter | None = None

    def begin(self, head: ResponseHead, *, keep_alive: bool) -> None:
        """Pass the head on."""
        wish = self._wish
        if self.strip and (b"content-encoding" in head.fields or head.status >= 300):
            self.strip = None  # Not what was asked for, or not to be read: it passes as it is.
        framing, lines = self._framed(head)
        self.writer.begin(head.status, framing, lines, extra=wish.extra, close=not keep_alive)
        self._unheard = head

    def interim(self, head: ResponseHead) -> None:
        """Pass a 1xx on."""
        self.writer.interim(status_lines(head.status, head.reason, forwarded(head.headers)) + b"\r\n")

    def switch(self, head: ResponseHead) -> None:
        """Pass a 101 on: the last that is said in HTTP."""
        lines = self._wish.extra + b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
        fields = forwarded(head.headers, ours=not self._wish.extra)
        self.writer.interim(status_lines(head.status, head.reason, fields) + lines)

    def listening(self, clock: Callable[[], Nanoseconds], answer: Headers) -> WebsocketObservation | None:
        """Return who listens to the websocket that the exchange becomes; ``None`` if nobody does."""
        ear = self.span.ear
        if ear is None or not self._observation.hears_messages:
            return None
        return WebsocketObservation(self._observation, ear, clock, answer)

    def body(self, t: Nanoseconds, content: bytes, wire: bytes | None = None) -> None:
        """Pass a part of the body on; ``wire`` is the same as whole chunks, if it came as that."""
        strip = self.strip
        passed = strip.feed(content) if strip is not None else content
        if passed is not content:
            self._write(passed, None)
        elif self._straight and wire is not None:
            self._client.send(wire)
        else:
            self._write(content, wire)
        self.span.received(t, content)

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

    def _write(self, content: bytes, wire: bytes | None) -> None:
        self.writer.write(content, wire)
        if self._unheard is not None:
            self._hear_head()
        self._straight = self.writer.straight

    def _framed(self, head: ResponseHead) -> tuple[Framing, bytes]:
        """Return how the answer ends for this client, and the lines of its head up to those that say so.

        They are the same for each answer with this head to a client that asked in the same way.
        """
        wish, changed = self._wish, self.strip is not None
        key = not wish.extra, changed, wish.http10, wish.method == "HEAD"
        known = head.onward.get(key)
        if known is None:
            answer = wish.answer(head, changed=changed)
            framing = framing_of(answer)
            fields = forwarded(head.headers, ours=not wish.extra)
            lines = status_lines(head.status, head.reason, fields) + answer_lines(answer, framing)
            known = head.onward[key] = framing, lines
        return known

    def _hear_head(self) -> None:
        """Let the observer have the head, once the client has been sent it."""
        head, self._unheard = self._unheard, None
        if head is not None:
            if b"content-encoding" in head.fields:
                self._observation.unfold(answer=decoder(head.fields))
            self._observation.response_head(head.status, head.headers)
