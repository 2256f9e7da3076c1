"""What a gate says of its upstreams and observers."""

import asyncio
from typing import Any

import pytest
import structlog

from joulegate.config.addresses import Endpoint
from joulegate.gateway.gate_context import GateContext
from joulegate.gateway.policy.settings import GateSettings, Target
from joulegate.model import Outcome
from joulegate.units import NANO, Nanoseconds


class Nobody:
    """Hears nothing."""

    def emit(self, event: object) -> None: ...


@pytest.fixture
async def desk() -> Any:
    """A desk whose clock stands where a test puts it."""
    settings = GateSettings((Target("u", Endpoint("http", "127.0.0.1", 1)),))
    at = [0]
    made = GateContext(settings, {}, Nobody(), lambda: Nanoseconds(at[0]), lambda: Nanoseconds(at[0]))
    yield made, at
    made.hangups.close()


def events(logs: Any) -> list[str]:
    return [entry["event"] for entry in logs]


async def test_an_upstream_is_lost_once_and_recovered_once(desk: Any) -> None:
    """A server that is down for an hour is one line, not one for each request."""
    one, _ = desk
    with structlog.testing.capture_logs() as logs:
        for _ in range(3):
            one.failed("u", Outcome.UPSTREAM_REFUSED, "no")
        one.reached("u")
        one.reached("u")
    assert events(logs) == ["upstream.lost", "upstream.recovered"]


async def test_other_failures_are_logged_at_most_once_a_second(desk: Any) -> None:
    """A storm of failures is not a storm of lines."""
    one, at = desk
    with structlog.testing.capture_logs() as logs:
        for tenth in range(25):
            at[0] = tenth * NANO // 10
            one.failed("u", Outcome.UPSTREAM_TIMEOUT, "")
    assert events(logs) == ["request.failed"] * 3


async def test_observers_are_counted_and_named_once(desk: Any) -> None:
    """Every failure counts, the first of each protocol is told."""
    one, _ = desk
    with structlog.testing.capture_logs() as logs:
        for protocol in ("a", "a", "b"):
            one.observer_failed(protocol)
        one.usage_refused("u", "r")
        one.usage_refused("u", "r")
    assert one.parse_failures == 3
    assert events(logs) == ["observer.failed", "observer.failed", "usage.refused"]
    assert one.usage_refusals.knows("u", "r")


async def test_a_server_that_comes_back_may_be_asked_for_usage_again(desk: Any) -> None:
    """What it refused before it was lost is forgotten when it is reached."""
    one, _ = desk
    one.usage_refused("u", "r")
    one.failed("u", Outcome.UPSTREAM_REFUSED, "refused")
    assert one.usage_refusals.knows("u", "r")
    one.reached("u")
    assert not one.usage_refusals.knows("u", "r")


async def test_the_gate_is_quiet_when_nothing_is_under_way(desk: Any) -> None:
    """A drain waits for handlers as well as for exchanges without a client."""
    one, _ = desk
    await one.quiet()
    one.entered()
    waiting = asyncio.ensure_future(one.quiet())
    await asyncio.sleep(0)
    assert not waiting.done()
    one.left()
    await waiting
