"""The answer on its way to the client: framed anew, whole or visibly cut."""

from joulegate.gateway.http.client_connection import ClientConnection
from joulegate.gateway.http.framing import LAST_CHUNK, Framing, chunk


class AnswerWriter:
    """Writes one answer."""

    __slots__ = ("_client", "_framing", "_held", "begun", "status")

    def __init__(self, client: ClientConnection) -> None:
        self._client: ClientConnection | None = client
        self._framing = Framing.NONE
        self._held = b""
        self.status: int | None = None
        """Status sent to the client."""
        self.begun = False
        """The head is written: from here on a failure can only cut."""

    @property
    def closes(self) -> bool:
        """The end of the connection is the end of the answer."""
        return self._framing is Framing.CLOSE

    @property
    def straight(self) -> bool:
        """Whole chunks may go to the client as they are, and nothing before them."""
        return self._framing is Framing.CHUNKED and not self._held

    def begin(self, status: int, framing: Framing, lines: bytes, *, extra: bytes, close: bool) -> None:
        """Write the head, which leaves with what follows or with ``flush``: one system call, not two.

        ``lines`` are its first ones, with those of the framing; ``extra`` follows.
        """
        self._framing = framing
        self.begun, self.status = True, status
        end = b"Connection: close\r\n\r\n" if close or framing is Framing.CLOSE else b"\r\n"
        self._held = b"%b%b%b" % (lines, extra, end)

    def write(self, data: bytes, wire: bytes | None = None) -> None:
        """Write a part of the body; ``wire`` is the same as whole chunks, if it came as that."""
        held, self._held = self._held, b""
        client = self._client
        if client is None:
            return
        if self._framing is Framing.CHUNKED:
            if wire and not held:
                client.send(wire)
                return
            pieces = [wire] if wire else chunk(data)
        else:
            pieces = [data] if data and self._framing is not Framing.NONE else []
        if held:
            pieces.insert(0, held)
        if len(pieces) == 1:
            client.send(pieces[0])
        elif pieces:
            client.send_all(pieces)

    def flush(self) -> None:
        """Send what is written."""
        held, self._held = self._held, b""
        if held and self._client:
            self._client.send(held)

    def end(self) -> None:
        """Write what says that the body is whole."""
        if self._framing is Framing.CHUNKED:
            self._held += LAST_CHUNK
        self.flush()

    def cut(self) -> None:
        """Make the client see that the answer is not whole.

        A framed body shows it by its missing end, and what arrived still reaches the client. Where the end
        of the connection is the only frame, nothing but a reset tells.
        """
        self.flush()
        if self._client:
            self._client.abort() if self.closes else self._client.end()

    def interim(self, head: bytes) -> None:
        """Write a 1xx head."""
        if self._client and not self.begun:
            self._client.send(head)

    def leave(self) -> None:
        """Write no more: the client is gone."""
        self._client = None
