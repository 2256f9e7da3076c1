"""What the exchanges of a gate share."""

import asyncio
from typing import Any

import pytest
import structlog

from joulegate.config import UpstreamConfig
from joulegate.config.addresses import Endpoint
from joulegate.gateway.gate_context import GateContext
from joulegate.gateway.policy.settings import GateSettings
from joulegate.units import Nanoseconds


class Nobody:
    """Hears nothing."""

    def emit(self, event: object) -> None: ...


@pytest.fixture
async def context() -> Any:
    """A context whose clock stands where a test puts it."""
    settings = GateSettings((UpstreamConfig("u", (Endpoint("http", "127.0.0.1", 1),)),))
    at = [0]
    made = GateContext(settings, Nobody(), lambda: Nanoseconds(at[0]), lambda: Nanoseconds(at[0]))
    yield made, at
    made.hangups.close()


def events(logs: Any) -> list[str]:
    return [entry["event"] for entry in logs]


async def test_observers_are_counted_and_named_once(context: Any) -> None:
    """Every failure counts, the first of each protocol is told."""
    one, _ = context
    with structlog.testing.capture_logs() as logs:
        for protocol in ("a", "a", "b"):
            one.observer_failed(protocol)
    assert one.parse_failures == 3
    assert events(logs) == ["observer.failed", "observer.failed"]


async def test_refusals_are_counted_by_reason(context: Any) -> None:
    """The meter shows why requests went nowhere."""
    one, _ = context
    for reason in ("full", "draining", "full"):
        one.refuse(reason)
    assert one.refused() == (("draining", 1), ("full", 2))


async def test_the_gate_is_quiet_when_nothing_is_under_way(context: Any) -> None:
    """A drain waits for handlers as well as for exchanges without a client."""
    one, _ = context
    await one.quiet()
    one.entered()
    waiting = asyncio.ensure_future(one.quiet())
    await asyncio.sleep(0)
    assert not waiting.done()
    one.left()
    await waiting
