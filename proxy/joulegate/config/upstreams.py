"""Whether the upstreams make sense, each by itself and all together. Pure."""

import json
from collections.abc import Collection, Iterator, Sequence

from joulegate.config.addresses import Address, Endpoint
from joulegate.config.lines import Path
from joulegate.config.problems import Problem, one_of, shown, unique
from joulegate.config.structs import Config, UpstreamConfig

WORK = ("auto", "llm", "image")
"""What ``kind`` may say in place of the name of a server."""
_MOST_REPLICAS = 64


def addresses(config: Config) -> dict[str, tuple[tuple[str, int], ...]]:
    """Return host and port of each replica, by upstream."""
    return {
        upstream.name: tuple((place.host, place.port) for place in upstream.endpoints)
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
    yield from _urls((*at, "url"), upstream.endpoints)
    for key in ("models", "gpus"):
        yield from _items((*at, key), getattr(upstream, key))
    if upstream.ca_file is not None and any(place.scheme == "http" for place in upstream.endpoints):
        yield Problem((*at, "ca_file"), "http:// has no certificates: write https:// or leave the key out")
    if upstream.strip_path and upstream.path is None:
        yield Problem((*at, "strip_path"), 'there is no path to strip: add path = "/prefix"')


def _urls(at: Path, endpoints: Sequence[Endpoint]) -> Iterator[Problem]:
    if not endpoints:
        yield Problem(at, "is empty: write the URL of each replica")
    first: dict[Endpoint, int] = {}
    for index, one in enumerate(endpoints):
        if (before := first.setdefault(one, index)) != index:
            yield Problem((*at, index), f"is the same server as the URL before it, number {before + 1}")
    if len(endpoints) > _MOST_REPLICAS:
        yield Problem(
            at, f"has {len(endpoints)} replicas; at most {_MOST_REPLICAS} can be told apart in metrics"
        )
    if len({one.scheme for one in endpoints}) > 1:
        yield Problem(at, "mixes http:// and https://: replicas are reached in the same way")


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
        rules = (upstream.path, upstream.host, tuple(sorted(upstream.models)))
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
        place = upstream.path, upstream.host
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
    urls = [place.text() for upstream in upstreams for place in upstream.endpoints]
    return f"[{', '.join(json.dumps(url) for url in urls[:8])}]"


def _loops(config: Config) -> Iterator[Problem]:
    """An upstream that is joulegate itself would send every request round for ever."""
    for key, listening in (("address", config.listen.address), ("admin", config.listen.admin)):
        for index, upstream in enumerate(config.upstream):
            if any(_listens(place) == listening for place in upstream.endpoints):
                yield Problem(
                    ("upstream", index, "url"), f"is joulegate's own listen.{key}: it would call itself"
                )


def _listens(place: Endpoint) -> Address:
    return Address("127.0.0.1" if place.host == "localhost" else place.host, place.port)
