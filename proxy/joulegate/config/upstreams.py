"""Whether the upstreams make sense, each by itself and all together. Pure."""

import json
import re
from collections.abc import Collection, Iterator, Sequence

from joulegate.config.addresses import Endpoint, address, endpoint, redacted
from joulegate.config.lines import Path
from joulegate.config.problems import Problem, shown
from joulegate.config.rules import between, name, one_of, parsed, task, unique
from joulegate.config.structs import Config, UpstreamConfig
from joulegate.errors import ConfigError

WORK = ("auto", "llm", "image")
"""What ``kind`` may say in place of the name of a server."""
_MOST = 1_000_000
_MOST_REPLICAS = 64
_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}", re.ASCII)


def addresses(config: Config) -> dict[str, tuple[tuple[str, int], ...]]:
    """Return host and port of each replica, by upstream. Raises ``ConfigError`` for a URL that is none."""
    return {
        upstream.name: tuple((place.host, place.port) for place in map(endpoint, upstream.urls))
        for upstream in config.upstream
    }


def problems(config: Config, servers: Collection[str] | None = None) -> Iterator[Problem]:
    """Return what is wrong with the upstreams; ``kind`` is checked if the names of ``servers`` are given."""
    upstreams = config.upstream
    if not upstreams:
        yield Problem(
            ("upstream",), "no upstream: add [[upstream]] with name and url, or give --upstream URL"
        )
    for index, upstream in enumerate(upstreams):
        yield from _one(("upstream", index), upstream)
        if servers is not None:
            yield from one_of(("upstream", index, "kind"), upstream.kind, [*WORK, *servers])
    yield from unique("upstream", "name", [upstream.name for upstream in upstreams])
    yield from _same_rules(upstreams)
    yield from _same_models(upstreams)
    yield from _loops(config)


def _one(at: Path, upstream: UpstreamConfig) -> Iterator[Problem]:
    yield from name((*at, "name"), upstream.name)
    yield from _urls((*at, "url"), upstream.url)
    yield from _affinity((*at, "affinity"), upstream)
    yield from _authorities(at, upstream)
    yield from _path(at, upstream)
    yield from _host(at, upstream)
    yield from task((*at, "task"), upstream.task)
    for key in ("models", "gpus"):
        yield from _items((*at, key), getattr(upstream, key))
    if upstream.model == "":
        yield Problem((*at, "model"), "is empty: name the model or leave the key out")
    yield from between((*at, "concurrency"), upstream.concurrency, 1, _MOST)
    yield from between((*at, "max_in_flight"), upstream.max_in_flight, 0, _MOST)


def _urls(at: Path, url: str | Sequence[str]) -> Iterator[Problem]:
    if isinstance(url, str):
        yield from parsed(at, endpoint, url)
        return
    if not url:
        yield Problem(at, "is empty: write the URL of each replica")
    seen: dict[Endpoint, int] = {}
    for index, one in enumerate(url):
        problem = next(iter(parsed((*at, index), endpoint, one)), None)
        if problem is not None:
            yield problem
        elif (first := seen.setdefault(endpoint(one), index)) != index:
            yield Problem((*at, index), f"is the same server as the URL before it, number {first + 1}")
    if len(url) > _MOST_REPLICAS:
        yield Problem(at, f"has {len(url)} replicas; at most {_MOST_REPLICAS} can be told apart in metrics")
    if len({one.scheme for one in seen}) > 1:
        yield Problem(at, "mixes http:// and https://: replicas are reached in the same way")


def _affinity(at: Path, upstream: UpstreamConfig) -> Iterator[Problem]:
    affinity = upstream.affinity
    if affinity is None or affinity == "prompt":
        return
    kind, colon, header = affinity.partition(":")
    if kind != "header" or not colon or not _HEADER.fullmatch(header):
        yield Problem(
            at,
            f"{affinity[:60]!r} is none: write 'prompt' or 'header:NAME', for example 'header:X-Session-Id'",
        )


def _authorities(at: Path, upstream: UpstreamConfig) -> Iterator[Problem]:
    if upstream.ca_file is None:
        return
    if not upstream.ca_file:
        yield Problem((*at, "ca_file"), "is empty: name a file or leave the key out")
    elif any(url.lower().startswith("http://") for url in upstream.urls):
        yield Problem((*at, "ca_file"), "http:// has no certificates: write https:// or leave the key out")


def _path(at: Path, upstream: UpstreamConfig) -> Iterator[Problem]:
    path = upstream.path
    if path is None:
        if upstream.strip_path:
            yield Problem((*at, "strip_path"), 'there is no path to strip: add path = "/prefix"')
    elif not path.startswith("/") or path == "/":
        yield Problem(
            (*at, "path"),
            f"{path[:60]!r} is no prefix: begin with a slash and name a part, for example '/image'",
        )
    elif path.endswith("/"):
        yield Problem(
            (*at, "path"), f"{path[:60]!r}: leave the last slash out: {path.rstrip('/')[:60] or '/image'!r}"
        )
    elif not path.isascii() or not path.isprintable() or set(path) & set(" ?#"):
        yield Problem(
            (*at, "path"), f"{path[:60]!r} has a character that no raw path has; write it percent-encoded"
        )


def _host(at: Path, upstream: UpstreamConfig) -> Iterator[Problem]:
    host = upstream.host
    if host is None:
        return
    if "://" in host or "/" in host:
        yield Problem((*at, "host"), f"{host[:60]!r} is no host: leave scheme and path out")
        return
    port = "" if host.rpartition(":")[2].isdecimal() else ":0"
    yield from parsed((*at, "host"), address, host + port)


def _items(path: Path, items: Sequence[int | str]) -> Iterator[Problem]:
    """Model patterns and devices: none empty, none negative, none twice. ``"auto"`` has no repeats."""
    if items == "auto":
        return
    if not items and path[-1] == "gpus":
        yield Problem(path, 'is empty: write gpus = "auto", or leave the key out')
    seen: set[int | str] = set()
    for index, item in enumerate(items):
        if item in seen:
            yield Problem((*path, index), f"{shown((), item)} stands there twice")
        if (isinstance(item, str) and not item.strip()) or (isinstance(item, int) and item < 0):
            yield Problem((*path, index), f"{item!r} names nothing")
        seen.add(item)


def _same_rules(upstreams: Sequence[UpstreamConfig]) -> Iterator[Problem]:
    """Two upstreams with the same rules could not be told apart."""
    first: dict[tuple[object, ...], UpstreamConfig] = {}
    for index, upstream in enumerate(upstreams):
        rules = (upstream.path, upstream.host and upstream.host.lower(), tuple(sorted(upstream.models)))
        other = first.setdefault(rules, upstream)
        if other is not upstream:
            yield Problem(
                ("upstream", index),
                f"{upstream.name[:60]!r} takes the same requests as {other.name[:60]!r}: "
                "give one of them a path, a host or models of its own; or, if each may answer for the other, "
                f"make them replicas: one [[upstream]] with url = {_as_list(other, upstream)}",
            )


def _same_models(upstreams: Sequence[UpstreamConfig]) -> Iterator[Problem]:
    """Of two upstreams in one place that take the same model, the second would never get it."""
    first: dict[tuple[object, ...], UpstreamConfig] = {}
    for index, upstream in enumerate(upstreams):
        place = upstream.path, upstream.host and upstream.host.lower()
        for model in upstream.models:
            other = first.setdefault((*place, model), upstream)
            if other is upstream or sorted(other.models) == sorted(upstream.models):
                continue
            yield Problem(
                ("upstream", index, "models"),
                f"{model[:60]!r} goes to {other.name[:60]!r} already; if both serve it, make them replicas: "
                f"one [[upstream]] with url = {_as_list(other, upstream)}",
            )


def _as_list(*upstreams: UpstreamConfig) -> str:
    urls = [redacted(url) for upstream in upstreams for url in upstream.urls]
    return f"[{', '.join(json.dumps(url) for url in urls[:8])}]"


def _loops(config: Config) -> Iterator[Problem]:
    """An upstream that is joulegate itself would send every request round for ever."""
    for key in ("address", "admin"):
        try:
            listening = address(getattr(config.listen, key))
        except ConfigError:
            continue
        for index, upstream in enumerate(config.upstream):
            if any(_where(url) == listening for url in upstream.urls):
                yield Problem(
                    ("upstream", index, "url"), f"is joulegate's own listen.{key}: it would call itself"
                )


def _where(url: str) -> tuple[str, int] | None:
    try:
        found = endpoint(url)
    except ConfigError:
        return None
    return ("127.0.0.1" if found.host == "localhost" else found.host), found.port
