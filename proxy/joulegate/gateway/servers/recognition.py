"""What a server is, told from answers to questions that cost it nothing, by whichever plug-in knows it.

Only ``GET`` of lists and descriptions: nothing generates, loads or drains anything. A server that shows no
sign of any plug-in is of no known kind.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import cache, partial
from types import MappingProxyType
from typing import TypeVar

from msgspec.structs import replace

from joulegate import plugins
from joulegate.log import logger
from joulegate.ports.servers import (
    AnswersQuestion,
    Imitates,
    LeavesOpen,
    Members,
    OwnsModels,
    Server,
    ServerAnswer,
    ServerIdentity,
    SignsAnswers,
    TellsVersion,
    text,
)

MOST_MODELS = 32
"""Models that are listed of one server."""
LIST = "/v1/models"
"""Asked first: most servers have it, and many sign it."""
_LOADING = 503

Ask = Callable[[str], Awaitable[ServerAnswer]]
"""Sends ``GET`` of a path. Raises ``UpstreamError`` if there is no answer."""
Servers = Mapping[str, Server]
"""The plug-ins by name."""
T = TypeVar("T")


@cache
def every() -> Servers:
    """Return the plug-in of every server there is, imitators first; of a broken one, log why."""
    found, broken = plugins.build_all(plugins.SERVERS)
    for problem in broken:
        logger("plugins").error("plugin.broken", problem=str(problem))
    return MappingProxyType(in_order(found))


def in_order(servers: Servers) -> dict[str, Server]:
    """Return the servers by name, each after all that imitate it."""
    order: dict[str, Server] = {}
    waiting = dict(sorted(servers.items()))
    while waiting:
        imitated = {
            name
            for other, server in waiting.items()
            if isinstance(server, Imitates)
            for name in server.imitates
            if name != other
        }
        name = next((name for name in waiting if name not in imitated), next(iter(waiting)))
        order[name] = waiting.pop(name)
    return order


def answer_of(server: object, question: Callable[[], T], otherwise: T) -> T:
    """Return what a plug-in answers to a question; one that raises is logged and has answered otherwise."""
    try:
        return question()
    except Exception as error:  # noqa: BLE001, RUF100 (a plug-in may raise anything; the traffic goes on)
        logger("gateway").warning("server.plugin_failed", plugin=type(server).__module__, error=repr(error))
        return otherwise


def work_of(kind: str) -> str:
    """Return the kind of work that settlement goes by: ``llm``, ``image``, or ``auto`` for either."""
    server = every().get(kind)
    return server.work if server else kind if kind in {"llm", "image"} else "auto"


async def recognise(ask: Ask, servers: Servers | None = None) -> ServerIdentity:
    """Ask until the answers show what the server is. Raises ``UpstreamError`` if it does not answer."""
    servers = every() if servers is None else servers
    first = await ask(LIST)
    rows = _rows(first)
    names = tuple(name for row in rows or () if (name := text(row.get("id"))))[:MOST_MODELS]
    ready = first.status != _LOADING
    kind = _listed(first, rows or (), servers) if ready else None
    if kind is not None:
        return await _told(ask, servers, ServerIdentity(kind, models=names))
    answers = {LIST: first}
    for name, server in servers.items():
        if not isinstance(server, AnswersQuestion):
            continue
        if server.question not in answers:
            answers[server.question] = await ask(server.question)
        sign = answer_of(server, partial(server.recognise, answers[server.question].members()), None)
        if sign:
            return await _told(ask, servers, ServerIdentity(name, sign.version, sign.models or names))
    if first.status in {401, 403}:
        for name, server in servers.items():
            if isinstance(server, LeavesOpen) and (await ask(server.open_page)).members().get("version"):
                return ServerIdentity(name, title=server.title)
    otherwise = _owner("*", servers) if ready and rows is not None else None
    loading = any(answer.status == _LOADING for answer in answers.values())
    title = servers[otherwise].title if otherwise else ""
    return ServerIdentity(otherwise, models=names, ready=not loading, title=title)


def _rows(answer: ServerAnswer) -> Sequence[Members] | None:
    rows = answer.members().get("data")
    return [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else None


def _listed(answer: ServerAnswer, rows: Sequence[Members], servers: Servers) -> str | None:
    """Return the server that signs this model list."""
    signature = answer.fields.get(b"server")
    for name, server in servers.items():
        if isinstance(server, SignsAnswers) and server.signature == signature:
            return name
    owners = (_owner(str(row.get("owned_by")), servers) for row in rows if row.get("owned_by") != "*")
    return next((owner for owner in owners if owner), None)


def _owner(owned_by: str, servers: Servers) -> str | None:
    owners = (
        name for name, one in servers.items() if isinstance(one, OwnsModels) and one.owned_by == owned_by
    )
    return next(owners, None)


async def _told(ask: Ask, servers: Servers, found: ServerIdentity) -> ServerIdentity:
    """Return it with its title, and with its version if that stands elsewhere."""
    server = servers[found.kind or ""]
    version = found.version
    if not version and isinstance(server, TellsVersion):
        members = (await ask(server.version_page)).members()
        version = text(members.get("version") or members.get("build_info"))
    return replace(found, version=version, title=server.title)
