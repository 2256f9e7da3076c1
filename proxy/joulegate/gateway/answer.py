"""The answer on its way to the client: framed anew, whole or visibly cut."""

from collections.abc import Sequence

from joulegate.gateway.client import ClientConnection
from joulegate.gateway.framing import LAST_CHUNK, Answer, Framing, answer_lines, chunk, framing_of
from joulegate.gateway.headers import response_head


class AnswerWriter:
    """Writes one answer."""

    __slots__ = ("_client", "_framing", "_held", "begun", "status")

    def __init__(self, client: ClientConnection) -> None:
        self._client: ClientConnection | None = client
        self._framing = Framing.NONE
        self._held: list[bytes] = []
        self.status: int | None = None
        """Status sent to the client."""
        self.begun = False
        """The head is written: from here on a failure can only cut."""

    @property
    def closes(self) -> bool:
        """The end of the connection is the end of the answer."""
        return self._framing is Framing.CLOSE

    def begin(
        self,
        answer: Answer,
        reason: bytes,
        fields: Sequence[tuple[bytes, bytes]],
        *,
        extra: bytes,
        close: bool,
    ) -> None:
        """Write the head, which leaves with what follows or with ``flush``: one system call, not two."""
        self._framing = framing_of(answer)
        self.begun, self.status = True, answer.status
        lines = answer_lines(answer, self._framing) + extra
        if close or self.closes:
            lines += b"Connection: close\r\n"
        self._held.append(response_head(answer.status, reason, fields, lines))

    def write(self, data: bytes) -> None:
        """Write a part of the body."""
        if self._framing is Framing.CHUNKED:
            self._held += chunk(data)
        elif self._framing is not Framing.NONE and data:
            self._held.append(data)
        self.flush()

    def flush(self) -> None:
        """Send what is written."""
        held, self._held = self._held, []
        if self._client and held:
            self._client.send(held[0]) if len(held) == 1 else self._client.send_all(held)

    def end(self) -> None:
        """Write what says that the body is whole."""
        if self._framing is Framing.CHUNKED:
            self._held.append(LAST_CHUNK)
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
