"""One answer on its way: to the client first, framed anew, whole or visibly cut; then to the observer.

The observer does not hear each part as it passes: parts wait with the times at which they came, and are
heard together. What a stream costs is then mostly what it takes to pass its parts on.
"""

from collections.abc import Callable

from joulegate.gateway.http.client_connection import ClientConnection
from joulegate.gateway.http.encodings import decoder
from joulegate.gateway.http.framing import LAST_CHUNK, AnswerFraming, Framing, answer_lines, chunk, framing_of
from joulegate.gateway.http.headers import forwarded, status_lines
from joulegate.gateway.http.heads import RequestHead, ResponseHead
from joulegate.gateway.spans.request_span import RequestSpan
from joulegate.gateway.spans.websocket_observation import WebsocketObservation
from joulegate.ports import Headers, ResponseFilter
from joulegate.units import Nanoseconds

REFUSALS = (400, 422, 500)
"""Status of a server that does not know a field of the request; 500 where a gateway hides its 400."""
_USAGE = (b"stream_options", b"include_usage")
"""What a refusal names: the field that is not known, whether as ``extra_forbidden`` with its place, as
``unknown field``, as ``Unrecognized request argument supplied`` or as ``extraneous key [include_usage]``."""
_SMALL = 64 * 1024
"""Bytes of a refusal that are kept back."""
UNHEARD = 8 * 1024
"""Bytes of one answer that wait for its observer: some 18 events of a stream of chat."""
PART = 256
"""Bytes that a part takes beside its content, and so the bound of their number."""


class Answer:
    """Passes the parts of an answer on, without what the client did not ask for."""

    __slots__ = (
        "_client", "_extra", "_framing", "_held", "_kept", "_listens_at", "_refusal", "_request", "_span",
        "_straight", "_times", "_unheard", "_unheard_head", "_waiting", "begun", "closes", "last", "status",
        "strip", "withheld",
    )  # fmt: skip

    def __init__(
        self, client: ClientConnection, request: RequestHead, span: RequestSpan, extra: bytes
    ) -> None:
        self._client: ClientConnection | None = client
        self._request = request
        self._span = span
        self._extra = extra
        """Header lines of the gate's own."""
        self._framing = Framing.NONE
        self._held = b""
        """What leaves with what comes next, or with ``pause``: one system call, not two."""
        self._straight = False
        """Whole chunks may go to the client as they are."""
        self._refusal: ResponseHead | None = None
        """The head of an answer that is kept back until it is known what it refuses."""
        self._kept: list[bytes] = []
        self._unheard_head: ResponseHead | None = None
        self._times: list[Nanoseconds] = []
        self._unheard: list[bytes] = []
        """The parts that the observer has not heard, and when they came."""
        self._waiting = 0
        self._listens_at = 0
        """Bytes in ``_waiting`` at which the observer hears; the first content is heard as it comes."""
        self.strip: ResponseFilter | None = None
        self.last = Nanoseconds(0)
        """When the last part came."""
        self.status: int | None = None
        """Status sent to the client."""
        self.begun = False
        """The head is written: from here on a failure can only cut."""
        self.closes = False
        """The end of the connection is the end of the answer."""
        self.withheld = False
        """An answer is kept back."""

    def begin(self, head: ResponseHead, *, keep_alive: bool) -> None:
        """Write the head, which leaves with what follows."""
        request, extra = self._request, self._extra
        if self.strip and (b"content-encoding" in head.fields or head.status >= 300):
            self.strip = None  # Not what was asked for, or not to be read: it passes as it is.
        key = not extra, self.strip is not None, request.http10, request.method == "HEAD"
        known = head.onward.get(key)
        if known is None:
            known = head.onward[key] = self._framed(head)
        self._framing, lines = known
        self.closes = self._framing is Framing.CLOSE
        end = b"\r\n" if keep_alive and not self.closes else b"Connection: close\r\n\r\n"
        self._held = b"%b%b%b" % (lines, extra, end)
        self._unheard_head = head
        self.begun, self.status = True, head.status

    def interim(self, head: ResponseHead) -> None:
        """Pass a 1xx on."""
        if self._client is not None and not self.begun:
            lines = status_lines(head.status, head.reason, forwarded(head.headers))
            self._client.send(lines + b"\r\n")

    def switch(self, head: ResponseHead) -> None:
        """Pass a 101 on: the last that is said in HTTP."""
        if self._client is not None:
            fields = forwarded(head.headers, ours=not self._extra)
            lines = self._extra + b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
            self._client.send(status_lines(head.status, head.reason, fields) + lines)

    def answer_body(self, t: Nanoseconds, content: bytes, wire: bytes | None) -> None:
        """Pass a part of the body on; ``wire`` is the same as whole chunks, if it came as that."""
        self.last = t
        if self.strip is not None and (passed := self.strip.feed(content)) is not content:
            self._write(passed, None)
        elif self._straight and wire is not None and self._client is not None:
            self._client.send(wire)
        else:
            self._write(content, wire)
        self._times.append(t)
        self._unheard.append(content)
        self._waiting += len(content) + PART
        if self._waiting >= self._listens_at:
            self.listen()

    def pause(self) -> None:
        """Pass on what there is."""
        if self._held:
            self._flush()
            self.listen()

    def end(self) -> None:
        """Pass the end on."""
        if self.strip is not None:
            self._write(self.strip.finish(), None)
        if self._framing is Framing.CHUNKED:
            self._held += LAST_CHUNK
        if self._held:
            self._flush()

    def cut(self) -> None:
        """Make the client see that the answer is not whole.

        A framed body shows it by its missing end, and what arrived still reaches the client. Where the end
        of the connection is the only frame, nothing but a reset tells.
        """
        self._flush()
        if self._client is not None:
            self._client.abort() if self.closes else self._client.end()

    def leave(self) -> None:
        """Write no more: the client is gone."""
        self._client = None

    # --- to the observer -------------------------------------------------------------------------------

    def listen(self) -> None:
        """Let the observer hear what has passed since the last time."""
        head, self._unheard_head = self._unheard_head, None
        if head is not None:
            if b"content-encoding" in head.fields:
                self._span.observation.unfold(answer=decoder(head.fields))
            self._span.observation.response_head(head.status, head.headers)
        if self._unheard:
            self._span.received(self._times, self._unheard)
            self._times.clear()
            self._unheard.clear()
            self._waiting = 0
            if self._span.streamed is not None:
                self._listens_at = UNHEARD

    def listening(self, clock: Callable[[], Nanoseconds], answer: Headers) -> WebsocketObservation | None:
        """Return who listens to the websocket that the exchange becomes; ``None`` if nobody does."""
        ear, observation = self._span.ear, self._span.observation
        if ear is None or not observation.hears_messages:
            return None
        return WebsocketObservation(observation, ear, clock, answer)

    # --- what may be a refusal of what the gate asked for ----------------------------------------------

    def withhold(self, head: ResponseHead) -> None:
        """Keep an answer back while it may be a refusal to count tokens."""
        self._refusal, self._kept, self.withheld = head, [], True

    def keep(self, part: bytes) -> bool:
        """Keep a part back; return whether the whole is still small enough for that."""
        self._kept.append(part)
        return sum(map(len, self._kept)) <= _SMALL

    def refuses_usage(self) -> bool:
        """Whether it is the asking for usage that is refused."""
        whole = b"".join(self._kept)
        return self.withheld and any(name in whole for name in _USAGE)

    def release(self) -> tuple[ResponseHead | None, list[bytes]]:
        """Return what was kept back, and keep it no longer."""
        released = self._refusal, self._kept
        self._refusal, self._kept, self.withheld = None, [], False
        return released

    # --- inside ----------------------------------------------------------------------------------------

    def _write(self, content: bytes, wire: bytes | None) -> None:
        held, self._held = self._held, b""
        framing = self._framing
        client = self._client
        if client is None:
            return
        if framing is Framing.CHUNKED:
            pieces = [wire] if wire else chunk(content)
            self._straight = True
        else:
            pieces = [content] if content and framing is not Framing.NONE else []
        if held:
            pieces.insert(0, held)
        if len(pieces) == 1:
            client.send(pieces[0])
        elif pieces:
            client.send_all(pieces)

    def _flush(self) -> None:
        held, self._held = self._held, b""
        if held and self._client is not None:
            self._client.send(held)

    def _framed(self, head: ResponseHead) -> tuple[Framing, bytes]:
        """Return how the answer ends for this client, and the lines of its head up to those that say so.

        They are the same for each answer with this head to a client that asked in the same way.
        """
        answer = AnswerFraming(
            method=self._request.method,
            status=head.status,
            http10=self._request.http10,
            length=head.length,
            chunked=head.chunked,
            changed=self.strip is not None,
        )
        framing = framing_of(answer)
        fields = forwarded(head.headers, ours=not self._extra)
        return framing, status_lines(head.status, head.reason, fields) + answer_lines(answer, framing)
