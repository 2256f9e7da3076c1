"""What an inference protocol offers: bytes seen in passing become facts."""

from collections.abc import Iterable, Mapping, Sequence
from enum import Enum, auto
from typing import Protocol, runtime_checkable

from msgspec import Struct

from joulegate.model import Asked, ServerTimings, Task, TaskFacts, WorkClass
from joulegate.units import Nanoseconds


class Places(Struct, frozen=True):
    """Where the configuration says that values stand in the bodies of a route: by field, a JSON pointer.

    The fields are those of ``[[route]] request`` and ``answer``.
    """

    request: Mapping[str, tuple[str, ...]]
    answer: Mapping[str, tuple[str, ...]]


USUAL_DIALECT = "openai"
"""The form of errors that most clients read, so that of routes that say nothing and of unknown callers."""


class Route(Struct, frozen=True):
    """A route that a protocol knows."""

    name: str
    """From a closed set, for example ``chat.completions``."""
    task: Task = Task.UNKNOWN
    work: WorkClass = WorkClass.INFERENCE
    reads_body: bool = True
    """The request body may say the model or the size of the work."""
    dialect: str = USUAL_DIALECT
    """How errors of the gate are written for this caller: the name of a protocol or server that
    ``WritesErrors``, or ``plain`` for a line of text."""
    model: str | None = None
    """The model, where the path names it."""
    places: Places | None = None
    """Where the values stand, of a route that only the configuration knows."""


Headers = Sequence[tuple[bytes, bytes]]
"""Raw header fields in their order; names in the case in which they came."""


class Fields(tuple[tuple[bytes, bytes], ...]):
    """Header fields that are asked for by name again and again, by all who hear of the same head."""

    first: Mapping[bytes, bytes]
    """First value of each field by its name in lower case."""

    def __new__(cls, headers: Iterable[tuple[bytes, bytes]]) -> "Fields":
        """Index the fields."""
        fields = super().__new__(cls, headers)
        fields.first = {name.lower(): value for name, value in reversed(fields)}
        return fields


def by_name(headers: Headers) -> Mapping[bytes, bytes]:
    """Return the first value of each field by its name in lower case."""
    return headers.first if isinstance(headers, Fields) else Fields(headers).first


class Rewrite(Struct, frozen=True):
    """A request body to send in place of the client's, and the matching filter for the answer."""

    body: bytes
    strip: "ResponseFilter | None" = None


class Conclusion(Enum):
    """What an answer itself has said of its end, in the words of its protocol."""

    NONE = auto()
    """Nothing yet; most answers that are no streams say nothing."""
    COMPLETE = auto()
    """The work is done: ``[DONE]``, ``message_stop``, ``response.completed``, ``"done":true``. What comes
    after it, if anything, is framing."""
    FAILED = auto()
    """The server reports an error, whatever the status of its answer was."""


class ResponseFilter(Protocol):
    """Takes out of a streamed answer what the client did not ask for; all other bytes stay as they are."""

    def feed(self, chunk: bytes) -> bytes:
        """Return the bytes that may go on to the client now."""
        ...

    def finish(self) -> bytes:
        """Return what was held back, at the end of the answer."""
        ...


class Observer(Protocol):
    """Listens to one exchange. It never sees a socket and never changes a byte.

    Methods are called in the order in which they stand here. Any exception is counted as a parse failure
    and ends the observation; the exchange goes on untouched.
    """

    def request_body(self, chunk: bytes) -> None:
        """Accept a part of the request body as sent by the client."""
        ...

    def asked(self) -> Asked:
        """Return what is known of the wish so far; the last call is after the last part of the body."""
        ...

    def rewrite(self, body: bytes) -> Rewrite | None:
        """Return a body that also asks the server for usage, or ``None`` to leave it as it is.

        Called once with the whole body, and only if it is at most 64 KiB, not encoded and ``asked`` says
        that it wants a stream.
        """
        ...

    def response_head(self, status: int, headers: Headers) -> None:
        """Accept the head of the answer."""
        ...

    def response_body(self, t: Nanoseconds, chunk: bytes) -> int:
        """Accept a part of the answer as the server sent it; return the content bytes in it.

        Content bytes are those that stand for generated work: text deltas of a stream, the body of a
        whole answer. Comments, usage and terminators are 0.
        """
        ...

    def response_end(self, *, complete: bool) -> None:
        """Notify that the answer is over, whole or cut."""
        ...

    def conclusion(self) -> Conclusion:
        """Return what the answer has said of its end so far; asked at its end, and when the client leaves."""
        ...

    def facts(self) -> TaskFacts:
        """Return the work done in normal form, as far as it is known."""
        ...

    def timings(self) -> ServerTimings:
        """Return the durations that the server reported."""
        ...

    def model(self) -> str | None:
        """Return the model named in the answer."""
        ...

    def streamed(self) -> bool:
        """Whether the answer is a stream of parts."""
        ...


@runtime_checkable
class WritesErrors(Protocol):
    """A protocol or a server whose clients read errors in a form of their own; its name is the dialect."""

    def error(self, status: int, code: str, message: str) -> object:
        """Return the JSON document of an error of the gate's own; ``code`` is a stable word for programs."""
        ...


@runtime_checkable
class InferenceProtocol(Protocol):
    """One family of routes. ``joulegate.protocols.<name>.Plugin``."""

    def matches(self, method: str, path: str) -> Route | None:
        """Return the route, or ``None`` if this protocol does not know it. ``path`` is raw, without query."""
        ...

    def observer(self, route: Route, headers: Headers) -> Observer:
        """Return a fresh listener for one exchange."""
        ...


class About(Struct, frozen=True):
    """What people read of a protocol in ``docs/protocols.md``. Every part may stay empty."""

    servers: tuple[str, ...] = ()
    """Servers that speak it, in their makers' spelling."""
    kinds: tuple[str, ...] = ()
    """Kinds of server (``[[upstream]] kind``) for which this protocol is asked before the others, where a
    path like ``/generate`` means different things on different servers."""
    routes: tuple[str, ...] = ()
    """``POST /v1/rerank``: routes that no recording shows; the protocol must know each."""
    usage: str = ""
    """Where the counts stand in requests and answers."""
    streaming: str = ""
    """How streams are framed, and what comes last."""
    jobs: str = ""
    """How work that outlives its answer is followed."""
    disconnect: str = ""
    """What the server does when its client leaves."""


@runtime_checkable
class Described(Protocol):
    """Optional ability of a protocol: it has a line in ``docs/protocols.md``."""

    about: About


def about(protocol: InferenceProtocol) -> About:
    """Return what a protocol says of itself, if it does."""
    found: object = protocol.about if isinstance(protocol, Described) else None
    return found if isinstance(found, About) else About()
