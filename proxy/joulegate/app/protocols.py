"""The protocols that there are, and whether the configuration's routes are like any of theirs."""

from collections.abc import Mapping

from joulegate import plugins
from joulegate.config import Config
from joulegate.errors import ConfigError
from joulegate.ports import InferenceProtocol

LAST = "generic"
"""The protocol that takes what no other one knows."""


def protocols() -> Mapping[str, InferenceProtocol]:
    """Return every protocol there is in the order in which they are asked."""
    names = sorted(plugins.names("protocols"), key=lambda name: (name == LAST, name))
    return {name: plugins.load("protocols", name).Plugin() for name in names}


def check_routes(config: Config) -> None:
    """Raise ``ConfigError`` for a ``[[route]] like`` that no protocol knows."""
    likes = [(index, route.method, route.like) for index, route in enumerate(config.route) if route.like]
    known = [protocol for name, protocol in protocols().items() if name != LAST] if likes else []
    wrong = [
        f"route[{index}].like: no protocol knows {method} {like!r}; docs/protocols.md lists what there is"
        for index, method, like in likes
        if not any(protocol.matches(method, like) for protocol in known)
    ]
    if wrong:
        raise ConfigError("\n".join(wrong))
