"""Listening that can harm nothing."""

from typing import Any

import pytest

from joulegate.gateway.spans.observation import (
    GENERIC,
    Observation,
    ObservedFacts,
    SilentObserver,
    choose,
    preferring,
)
from joulegate.model import Asked, Fact, ServerTimings, TaskFacts
from joulegate.ports import About, Headers, Observer, Route
from joulegate.units import Nanoseconds

T = Nanoseconds(0)
ROUTE = Route("r")


class Broken:
    """A plug-in that raises wherever it is touched."""

    def __init__(self, where: str = "") -> None:
        self._where = where

    def matches(self, method: str, path: str) -> Route | None:
        if self._where == "matches":
            raise RuntimeError
        return Route("r")

    def observer(self, route: Route, headers: Headers) -> Observer:
        raise RuntimeError

    def __getattr__(self, name: str) -> Any:
        def fail(*_: object, **__: object) -> None:
            raise RuntimeError(name)

        return fail


class Deaf:
    """Knows no route."""

    def matches(self, method: str, path: str) -> Route | None:
        return None

    def observer(self, route: Route, headers: Headers) -> Observer:
        raise AssertionError("a protocol that knows no route is not asked to listen")


class Sure:
    """Knows every route."""

    def matches(self, method: str, path: str) -> Route | None:
        return Route("sure")

    def observer(self, route: Route, headers: Headers) -> Observer:
        return SilentObserver()


def test_the_first_protocol_that_knows_the_route_listens() -> None:
    """Order decides; those that do not know it or raise are passed over."""
    failed: list[str] = []
    protocols = {
        "deaf": Deaf(),
        "broken": Broken("matches"),
        "mute": Broken(),
        "sure": Sure(),
        "late": Sure(),
    }
    chosen = choose(protocols, "GET", "/", [], failed.append)
    assert (chosen.protocol, chosen.route.name, failed) == ("sure", "sure", ["broken", "mute"])


def test_without_a_protocol_the_traffic_is_generic() -> None:
    """Nobody needs to know a route for it to be relayed."""
    chosen = choose({"deaf": Deaf()}, "GET", "/", [], print)
    assert (chosen.protocol, chosen.route.dialect) == (GENERIC, "plain")
    assert chosen.response_parts([T], [b"four"]) == [4]


class Claims(Deaf):
    """A protocol for one kind of server."""

    about = About(kinds=("tgi",))


def test_a_kind_of_server_has_its_own_protocol_asked_first() -> None:
    """On TGI, a path that two protocols know is TGI's; for other servers the order stays as it was."""
    protocols = {"a": Deaf(), "broken": Broken(), "mine": Claims(), GENERIC: Deaf()}
    assert list(preferring(protocols, "tgi")) == ["mine", "a", "broken", GENERIC]
    assert list(preferring(protocols, "vllm")) == list(protocols)


def test_an_observer_that_raises_is_counted_once_and_heard_no_more() -> None:
    """Every question has an answer although the observer has none."""
    failed: list[str] = []
    observation = Observation(Broken(), "b", ROUTE, failed.append)
    observation.request_body(b"x")
    assert observation.asked() == Asked()
    assert observation.rewrite(b"x") is None
    observation.response_head(200, [])
    assert observation.response_parts([T], [b"four"]) == [4]
    observation.response_end(complete=True)
    assert observation.account() == ObservedFacts()
    assert not observation.streamed()
    assert failed == ["b"]
    assert observation.failed


def test_an_observer_that_fails_in_the_middle_counts_bytes_from_there() -> None:
    """The first byte and the size of an answer stay known."""

    class BreaksAtTwo(SilentObserver):
        def response_body(self, t: Nanoseconds, chunk: bytes) -> int:
            if chunk == b"two":
                raise RuntimeError
            return 1

    failed: list[str] = []
    observation = Observation(BreaksAtTwo(), "b", ROUTE, failed.append)
    assert observation.response_parts([T] * 4, [b"one", b"two", b"three", b"four"]) == [1, 3, 5, 4]
    assert observation.response_parts([T], [b"five5"]) == [5]
    assert failed == ["b"]


@pytest.mark.parametrize("wanted", [Asked(model="m\x00" * 1000, stream=True, max_tokens=7)])
def test_what_was_asked_is_fit_to_be_kept(wanted: Asked) -> None:
    """Only the model is changed, and only where it must be."""

    class Wants(SilentObserver):
        def asked(self) -> Asked:
            return wanted

    asked = Observation(Wants(), "w", ROUTE, print).asked()
    assert asked.model == "m\ufffd" * 128
    assert (asked.stream, asked.max_tokens) == (True, 7)


def test_what_was_said_before_a_fault_stays() -> None:
    """An observer that can say what it counted, but not how long it took, has still counted."""

    class Half(SilentObserver):
        def streamed(self) -> bool:
            return True

        def facts(self) -> TaskFacts:
            return TaskFacts(images=Fact(1))

        def timings(self) -> ServerTimings:
            raise RuntimeError

    failed: list[str] = []
    account = Observation(Half(), "h", ROUTE, failed.append).account()
    assert account == ObservedFacts(streamed=True, facts=TaskFacts(images=Fact(1)))
    assert failed == ["h"]
