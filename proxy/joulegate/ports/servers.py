"""What an inference server is to joulegate: how it is recognised, tells its load and is stopped.

A plug-in is a class ``Plugin`` with ``title`` and ``work``; everything else is an ability of its own, which a
server that lacks it leaves out. Nothing here does I/O: a plug-in names what to send and reads what came.
"""

from collections.abc import Mapping
from typing import Any, Literal, Protocol, runtime_checkable

import msgspec
from msgspec import Struct

Work = Literal["llm", "image", "auto"]
"""What a server makes: tokens, pictures, or either."""
Members = Mapping[str, Any]
"""A JSON object."""

_LONGEST = 100


class ServerAnswer(Struct, frozen=True):
    """What a server said to one question."""

    status: int
    fields: Mapping[bytes, bytes]
    """First value of each header field by its name in lower case."""
    body: bytes

    def document(self) -> Any:
        """Return the JSON of a good answer, or ``None``."""
        if self.status != 200:
            return None
        try:
            return msgspec.json.decode(self.body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return None

    def members(self) -> Members:
        """Return the JSON object of a good answer; empty if it is none."""
        found = self.document()
        return found if isinstance(found, dict) else {}


class ServerIdentity(Struct, frozen=True):
    """What is known of a server that answers."""

    kind: str | None = None
    """Name of its plug-in."""
    version: str = ""
    models: tuple[str, ...] = ()
    ready: bool = True
    """It said to none of the questions that it is still loading."""
    title: str = ""

    def text(self) -> str:
        """Return type and version as people read them; empty if not known."""
        return f"{self.title or self.kind} {self.version}".strip() if self.kind else ""


class Sign(Struct, frozen=True):
    """What a server's own answer shows of it besides what it is."""

    version: str = ""
    models: tuple[str, ...] = ()


class AbandonedRequest(Struct, frozen=True):
    """A request whose client has left."""

    path: str
    """Raw, as the upstream got it, without query."""
    fields: Mapping[bytes, bytes]
    """First value of each header field by its name in lower case."""


class StopCall(Struct, frozen=True):
    """What to send, and what to look at before."""

    method: str
    path: str
    body: bytes = b""
    before: str | None = None
    """``GET`` of this path must show that it is this request that runs, see ``ConfirmsRequest``."""


@runtime_checkable
class Server(Protocol):
    """One inference server. ``joulegate.servers.<name>.Plugin``; the name is its ``kind``."""

    title: str
    """In its makers' spelling."""
    work: Work


@runtime_checkable
class OwnsModels(Protocol):
    """It is recognised by ``owned_by`` in ``GET /v1/models``."""

    owned_by: str
    """What it writes there; ``*`` is any list of models that no other server claims."""


@runtime_checkable
class SignsAnswers(Protocol):
    """It is recognised by the header field ``Server`` of every answer."""

    signature: bytes


@runtime_checkable
class AnswersQuestion(Protocol):
    """It is recognised by its answer to a ``GET`` that costs nothing: no work, no loading, no draining."""

    question: str
    """The path."""

    def recognise(self, members: Members) -> Sign | None:
        """Return what the answer shows, or ``None`` if it is another server's."""
        ...


@runtime_checkable
class Imitates(Protocol):
    """It answers the questions of other servers too, so that it is asked before them."""

    imitates: tuple[str, ...]
    """Their names."""


@runtime_checkable
class LeavesOpen(Protocol):
    """Its key protects ``/v1`` and leaves a page open that shows what it is."""

    open_page: str
    """Path of a page with a member ``version``."""


@runtime_checkable
class TellsVersion(Protocol):
    """Its version stands on a page of its own."""

    version_page: str
    """Path of a page with a member ``version`` or ``build_info``."""


@runtime_checkable
class ReportsLoad(Protocol):
    """It says how many requests it works on."""

    gauge: str
    """Path to ``GET``. Read only for a short time after a client has left."""

    def running(self, answer: ServerAnswer) -> int | None:
        """Return the number of requests that run or wait; ``None`` if the answer does not tell."""
        ...


@runtime_checkable
class StopsWork(Protocol):
    """It works on for some requests after their connection is cut, and has a call that ends them."""

    def stop(self, left: AbandonedRequest) -> StopCall | None:
        """Return the call for this request, or ``None`` where closing its connection is enough."""
        ...


@runtime_checkable
class ConfirmsRequest(Protocol):
    """It tells which request runs, so that nobody else's is stopped. Needed for ``StopCall.before``."""

    def runs(self, left: AbandonedRequest, answer: ServerAnswer) -> bool:
        """Whether the answer shows that this request runs."""
        ...


class Leaving(Struct, frozen=True):
    """What people read in ``docs/disconnects.md``."""

    cut: str
    """What cutting the connection does."""
    call: str = ""
    """The call that ends its work."""
    gauge: str = ""
    """The gauge that is read."""


@runtime_checkable
class TellsLeaving(Protocol):
    """It has a line in ``docs/disconnects.md``."""

    leaving: Leaving


def text(value: object) -> str:
    """Return a text of a server's, short and printable; anything else is empty."""
    found = value[:_LONGEST] if isinstance(value, str) else ""
    return found if found.isprintable() else ""


def sign_of(members: Members, *needed: str) -> Sign | None:
    """Return ``version`` and ``model_path`` of an answer that has all these members."""
    if not all(name in members for name in needed):
        return None
    model = text(members.get("model_path"))
    return Sign(text(members.get("version")), (model,) if model else ())
