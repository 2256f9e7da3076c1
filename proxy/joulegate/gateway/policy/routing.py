"""Which upstream takes a request. Pure.

Path and host decide first, then the model. A longer path wins over a shorter one, a path over a host
alone, a name over a pattern; what no rule takes goes to the upstream without rules, or to the only one.
"""

import re
from collections.abc import Sequence
from fnmatch import fnmatchcase

from joulegate.config import UpstreamConfig

_SLASHES = re.compile("/{2,}")


class Routes:
    """The rules of all upstreams."""

    def __init__(self, targets: Sequence[UpstreamConfig]) -> None:
        self._targets = tuple(targets)
        plain = [target for target in targets if not (target.path or target.host or target.models)]
        self._default = plain[0] if plain else targets[0] if len(targets) == 1 else None
        self._placed = [target for target in targets if target.path or target.host]
        self._unplaced = tuple(target for target in targets if not (target.path or target.host))

    def candidates(self, path: str, host: str) -> tuple[UpstreamConfig, ...]:
        """Return the upstreams among which the model decides; ``path`` is raw and without query.

        If no path and no host takes the request, those are the upstreams without either.
        """
        matching = [target for target in self._placed if _takes(target, path, host)]
        if not matching:
            return self._unplaced or self._or_default()
        best = max(_rank(target) for target in matching)
        return tuple(target for target in matching if _rank(target) == best)

    def needs_model(self, candidates: Sequence[UpstreamConfig]) -> bool:
        """Whether the choice depends on the model."""
        return self._targets != tuple(candidates[:1]) and any(target.models for target in candidates)

    def choose(self, candidates: Sequence[UpstreamConfig], model: str | None) -> UpstreamConfig | None:
        """Return the upstream, or ``None`` if no rule takes the request."""
        if model is not None:
            for test in (_names, _resembles):
                for target in candidates:
                    if test(target, model):
                        return target
        return next((target for target in candidates if not target.models), self._default)

    def explain(self, path: str, host: str, model: str | None) -> str:
        """Return what was looked for and which rules there are."""
        asked = f"path {path[:80]!r}, host {host[:80]!r}, model {(model or '')[:80]!r}"
        rules = "; ".join(_rule(target) for target in self._targets)
        return f"no upstream takes {asked}; the rules are: {rules}"

    def _or_default(self) -> tuple[UpstreamConfig, ...]:
        return (self._default,) if self._default else ()


def upstream_target(target: UpstreamConfig, raw: str) -> str:
    """Return the request target for the upstream, without its path prefix if that is to be stripped."""
    if not target.strip_path or not target.path or not below(raw.partition("?")[0], target.path):
        return raw
    rest = raw[len(target.path) :]
    return rest if rest.startswith("/") else f"/{rest}"


def canonical(path: str) -> str:
    """Return the path by which a route is known: to most servers several slashes are one."""
    return _SLASHES.sub("/", path) if "//" in path else path


def below(path: str, prefix: str) -> bool:
    """Whether the path is the prefix or goes on below it."""
    return path == prefix or path.startswith(f"{prefix}/")


def host_name(value: str) -> str:
    """Return the ``Host`` field without its port, in lower case."""
    host, colon, port = value.rpartition(":")
    return (host if colon and port.isdecimal() else value).lower()


def _takes(target: UpstreamConfig, path: str, host: str) -> bool:
    if target.path and not below(path, target.path):
        return False
    return not target.host or host_name(target.host) == host


def _rank(target: UpstreamConfig) -> tuple[int, bool]:
    return len(target.path or ""), target.host is not None


def _names(target: UpstreamConfig, model: str) -> bool:
    return model in target.models


def _resembles(target: UpstreamConfig, model: str) -> bool:
    return any(fnmatchcase(model, _glob(pattern)) for pattern in target.models)


def _glob(pattern: str) -> str:
    """Return the pattern with only ``*`` special."""
    return pattern.replace("[", "[[]").replace("?", "[?]")


def _rule(target: UpstreamConfig) -> str:
    parts = [
        f"path {target.path}" if target.path else "",
        f"host {target.host}" if target.host else "",
        f"models {', '.join(target.models)[:120]}" if target.models else "",
    ]
    return f"{target.name} ({', '.join(part for part in parts if part) or 'all else'})"
