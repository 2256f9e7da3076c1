"""What is remembered of servers that cannot be asked for usage."""

from joulegate.gateway.policy.usage_refusals import LASTS, UsageRefusals
from joulegate.units import Nanoseconds


def test_a_refusal_is_remembered_for_one_route() -> None:
    """Chat may know ``stream_options`` where completions do not."""
    refusals = UsageRefusals(lambda: Nanoseconds(0))
    assert refusals.refused("completions")
    assert not refusals.refused("completions"), "it is news once"
    assert refusals.knows("completions")
    assert not refusals.knows("chat.completions")


def test_a_server_that_was_away_is_asked_again() -> None:
    """What comes back may have been upgraded."""
    refusals = UsageRefusals(lambda: Nanoseconds(0))
    refusals.refused("completions")
    refusals.forget()
    assert not refusals.knows("completions")


def test_a_refusal_lasts_an_hour() -> None:
    """A server that was upgraded while nobody called is asked again in time."""
    now = [0]
    refusals = UsageRefusals(lambda: Nanoseconds(now[0]))
    refusals.refused("r")
    now[0] = LASTS - 1
    assert refusals.knows("r")
    now[0] = LASTS
    assert not refusals.knows("r")
    assert refusals.refused("r"), "then it is news again"
