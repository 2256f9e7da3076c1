"""The protocols that there are, and whether the configuration's routes are like any of theirs."""

from collections.abc import Mapping

from joulegate import plugins
from joulegate.config import Config
from joulegate.config.validate import PLAIN
from joulegate.errors import ConfigError
from joulegate.gateway.http.refusals import form_of
from joulegate.log import logger
from joulegate.ports import InferenceProtocol

LAST = "generic"
"""The protocol that takes what no other one knows."""


def protocols() -> Mapping[str, InferenceProtocol]:
    """Return every protocol that works, in the order in which they are asked; of a broken one, log why."""
    built, broken = plugins.build_all(plugins.PROTOCOLS)
    for problem in broken:
        logger("plugins").error("plugin.broken", problem=str(problem))
    return {name: built[name] for name in sorted(built, key=lambda name: (name == LAST, name))}


def check_routes(config: Config) -> None:
    """Raise ``ConfigError`` for a ``[[route]]`` that is like none, or whose dialect no plug-in writes."""
    likes = [(index, route.method, route.like) for index, route in enumerate(config.route) if route.like]
    known = [protocol for name, protocol in protocols().items() if name != LAST] if likes else []
    wrong = [
        f"route[{index}].like: no protocol knows {method} {like!r}; docs/protocols.md lists what there is"
        for index, method, like in likes
        if not any(protocol.matches(method, like) for protocol in known)
    ]
    wrong += [
        f"route[{index}].dialect: {route.dialect} has no form of errors of its own: write 'plain'"
        for index, route in enumerate(config.route)
        if route.dialect not in {None, PLAIN} and form_of(str(route.dialect)) is None
    ]
    if wrong:
        raise ConfigError("\n".join(wrong))
