"""What the parts of an exchange are to one another: signatures only."""

from typing import Protocol

from joulegate.gateway.exchange.request_span import Ending
from joulegate.gateway.http.heads import ResponseHead
from joulegate.model import Outcome
from joulegate.units import Nanoseconds


class ClientExchange(Protocol):
    """What a client connection tells the exchange that it carries."""

    def client_full(self, full: bool) -> None:  # noqa: FBT001, RUF100 (a state, not a flag)
        """Notify that the client reads more slowly than the upstream sends, or that there is room again."""
        ...

    def client_left(self) -> None:
        """Notify that the client is gone."""
        ...


class AttemptCallbacks(Protocol):
    """Who sends the request that an exchange is about."""

    def answer_begins(self) -> None:
        """Notify that the client gets this answer: the request is not sent again."""
        ...

    def client_left(self, ending: Ending) -> bool:
        """Notify that the connection was cut with its client; return whether the rest is cared for."""
        ...

    def settled(self) -> None:
        """Notify that the exchange is over, or that this attempt has no answer that the client could get."""
        ...


class ResponseSink(Protocol):
    """Who gets an answer. Called synchronously, in the order of the bytes."""

    def answer_interim(self, head: ResponseHead) -> None:
        """Accept a 1xx head other than 101."""
        ...

    def answer_head(self, t: Nanoseconds, head: ResponseHead) -> None:
        """Accept the head of the answer."""
        ...

    def answer_upgraded(self, t: Nanoseconds, head: ResponseHead, rest: bytes) -> None:
        """Accept the head of a 101 and the first bytes of the new protocol; the transport is the caller's."""
        ...

    def answer_body(self, t: Nanoseconds, content: bytes, wire: bytes | None) -> None:
        """Accept a part of the body; ``wire`` is the same as whole chunks, if it came as that."""
        ...

    def answer_end(self, t: Nanoseconds) -> None:
        """Notify that the answer is whole."""
        ...

    def answer_pauses(self) -> None:
        """Notify that no content came with what was told last: nothing is to be waited for."""
        ...

    def answer_failed(self, _: Nanoseconds, outcome: Outcome, detail: str) -> None:
        """Notify that no more will come, before the answer is whole."""
        ...
