"""What an answer depends on besides the upstream: the client's wish and the gate's own patience. Pure."""

from msgspec import Struct

from joulegate.gateway.http.framing import AnswerFraming
from joulegate.gateway.http.heads import ResponseHead

_SMALL = 64 * 1024
_USAGE = (b"stream_options", b"include_usage")
"""What a refusal names: pydantic's ``extra_forbidden`` with its place, serde's ``unknown field``, OpenAI's
``Unrecognized request argument supplied``, Bedrock's ``extraneous key [include_usage]``."""
REFUSALS = (400, 422, 500)
"""Status of a server that does not know a field of the request; 500 where a gateway hides its 400."""


class AnswerContext(Struct, frozen=True):
    """What the exchange must know of the request to write its answer."""

    method: str
    http10: bool
    keep_alive: bool
    """The client would go on with this connection."""
    upgrade: bool
    """The client asked for a websocket."""
    finish: bool
    """The upstream may finish when the client has left."""
    extra: bytes
    """Header lines of the gate's own for the answer."""

    def answer(self, head: ResponseHead, *, changed: bool) -> AnswerFraming:
        """Return what the framing of this answer depends on."""
        return AnswerFraming(
            method=self.method,
            status=head.status,
            http10=self.http10,
            length=head.length,
            chunked=head.chunked,
            changed=changed,
        )


class WithheldRefusal:
    """The refusal of a request that asked for usage, kept back until it is known what it refuses."""

    __slots__ = ("_size", "head", "parts")

    def __init__(self, head: ResponseHead) -> None:
        self.head = head
        self.parts: list[bytes] = []
        self._size = 0

    def add(self, part: bytes) -> bool:
        """Keep a part; return whether the whole is still small enough to be kept."""
        self.parts.append(part)
        self._size += len(part)
        return self._size <= _SMALL

    def names_usage(self) -> bool:
        """Whether it is the asking for usage that is refused."""
        whole = b"".join(self.parts)
        return any(name in whole for name in _USAGE)
