"""The settings as written, layer upon layer, each value with where it came from.

A file is one layer, the command line the next one; a later layer wins. Nothing is checked here but
what must be known to lay one upon the other.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct

from joulegate.config.lines import Path
from joulegate.errors import ConfigError

_NAMED = re.compile(r"([A-Za-z0-9][A-Za-z0-9_.-]*)=(.*)", re.ASCII | re.DOTALL)


class Layer(Struct, frozen=True):
    """Values as TOML gives them, and the origin of each path that was written."""

    values: dict[str, Any]
    origins: Mapping[Path, str]
    """Where it was written, for example ``joulegate.toml:12`` or ``--listen``."""


class Flags(Struct, frozen=True):
    """Settings from the command line; ``None`` was not given."""

    upstream: Sequence[str] = ()
    """``URL`` or ``NAME=URL``; several URLs with commas between are replicas."""
    listen: str | None = None
    admin: str | None = None
    gates: int | None = None
    source: str | None = None
    zone: str | None = None
    ledger: str | None = None


_PLACES: dict[str, tuple[str, str]] = {
    "listen": ("listen", "address"),
    "admin": ("listen", "admin"),
    "gates": ("listen", "gates"),
    "source": ("energy", "source"),
    "zone": ("carbon", "zone"),
    "ledger": ("ledger", "path"),
}
"""Flag and the key that it sets."""


def from_flags(flags: Flags) -> Layer:
    """Return the layer of the command line. Raises ``ConfigError`` for upstreams without a usable name.

    The first upstream takes what no other one takes; each further one is reached under ``/NAME``.
    """
    values: dict[str, Any] = {}
    origins: dict[Path, str] = {}
    for flag, (section, key) in _PLACES.items():
        value = getattr(flags, flag)
        if value is not None:
            values.setdefault(section, {})[key] = value
            origins[section, key] = f"--{flag}"
    if flags.upstream:
        values["upstream"] = _upstreams(flags.upstream)
        origins["upstream",] = "--upstream"
    return Layer(values, origins)


def _upstreams(texts: Sequence[str]) -> list[dict[str, Any]]:
    tables: list[dict[str, Any]] = []
    for text in texts:
        name, url = _name_and_url(text, "" if tables else "default")
        rule = {"path": f"/{name}", "strip_path": True} if tables else {}
        urls = [part.strip() for part in url.split(",")]
        tables.append({"name": name, "url": urls if len(urls) > 1 else url, **rule})
    return tables


def _name_and_url(text: str, default: str) -> tuple[str, str]:
    match = _NAMED.fullmatch(text)
    if match:
        return match[1], match[2]
    if not default:
        raise ConfigError(
            "--upstream: give each further upstream a name, as in --upstream image=http://host:port"
        )
    return default, text


def merged(below: Layer, above: Layer) -> Layer:
    """Return one layer in which the upper one's values win; its upstreams replace all of the lower one's."""
    values = {**below.values}
    origins = {path: origin for path, origin in below.origins.items() if not _covered(path, above)}
    for section, value in above.values.items():
        lower = values.get(section)
        both = isinstance(value, dict) and isinstance(lower, dict)
        values[section] = {**lower, **value} if both else value  # type: ignore[dict-item]  # `both` says so
    return Layer(values, {**origins, **above.origins})


def _covered(path: Path, above: Layer) -> bool:
    return any(path[: len(written)] == written for written in above.origins)


def origin_of(layer: Layer, path: Path) -> str | None:
    """Return where a value was written, or the nearest thing that holds it; ``None`` is nowhere."""
    for end in range(len(path), 0, -1):
        if path[:end] in layer.origins:
            return layer.origins[path[:end]]
    return None
