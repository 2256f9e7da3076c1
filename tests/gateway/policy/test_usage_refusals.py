"""What is remembered of servers that cannot be asked for usage."""

from joulegate.gateway.policy.usage_refusals import LASTS, UsageRefusals
from joulegate.units import Nanoseconds


def test_a_refusal_is_remembered_for_one_route_of_one_server() -> None:
    """Chat may know ``stream_options`` where completions do not, and the next server is another one."""
    refusals = UsageRefusals(lambda: Nanoseconds(0))
    assert refusals.refused("a", "completions")
    assert not refusals.refused("a", "completions"), "it is news once"
    assert refusals.knows("a", "completions")
    assert not refusals.knows("a", "chat.completions")
    assert not refusals.knows("b", "completions")


def test_a_server_that_was_away_is_asked_again() -> None:
    """What comes back may have been upgraded; other servers stay as they are known."""
    refusals = UsageRefusals(lambda: Nanoseconds(0))
    refusals.refused("a", "completions")
    refusals.refused("b", "completions")
    refusals.forget("a")
    assert not refusals.knows("a", "completions")
    assert refusals.knows("b", "completions")


def test_a_refusal_lasts_an_hour() -> None:
    """A server that was upgraded while nobody called is asked again in time."""
    now = [0]
    refusals = UsageRefusals(lambda: Nanoseconds(now[0]))
    refusals.refused("a", "r")
    now[0] = LASTS - 1
    assert refusals.knows("a", "r")
    now[0] = LASTS
    assert not refusals.knows("a", "r")
    assert refusals.refused("a", "r"), "then it is news again"
