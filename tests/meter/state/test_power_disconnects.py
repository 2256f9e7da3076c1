"""A device that stays busy after its last client has left works for nobody."""

import pytest

from joulegate.meter.state.power_disconnects import SETTLES, WEAK, PowerDisconnectDetector
from joulegate.model import DeviceId
from joulegate.units import MICRO, NANO, Microwatts, Nanoseconds

ONE, TWO = DeviceId("GPU-1"), DeviceId("GPU-2")
PLACES = {"text": (ONE,), "image": (ONE, TWO), "far": (TWO,)}
TEXT = {"text": (ONE,)}


class Bench:
    """A second passes with each look."""

    def __init__(self, places: dict[str, tuple[DeviceId, ...]] | None = None) -> None:
        self.leavings = PowerDisconnectDetector()
        self.places = places or TEXT
        self.now = 100

    def t(self) -> Nanoseconds:
        return Nanoseconds(self.now * NANO)

    def look(self, *watts: int | None, **flying: int) -> list[tuple[str, bool]]:
        powers = {
            one: None if power is None else Microwatts(power * MICRO)
            for one, power in zip((ONE, TWO), watts, strict=False)
        }
        said = self.leavings.look(self.t(), powers, flying, self.places)
        self.now += 1
        return said

    def work_and_leave(self, watts: int = 300) -> None:
        """Let a request come to a device at rest, and its client leave."""
        assert self.look(70) == []
        self.leavings.opened("text", self.t())
        for _ in range(3):
            assert self.look(watts, text=1) == []
        self.leavings.left("text", self.t())
        assert self.look(watts, text=1) == []


@pytest.mark.parametrize(("after", "verdict"), [(300, True), (200, True), (180, False), (75, False)])
def test_power_that_stays_up_is_work_for_nobody(after: int, verdict: bool) -> None:
    """Above half of what the request drew it still works; the answer comes once."""
    bench = Bench()
    bench.work_and_leave()
    said = [bench.look(after) for _ in range(2 * SETTLES // NANO)]
    assert [one for one in said if one] == [[("text", verdict)]]


def test_a_request_that_comes_meanwhile_is_no_evidence() -> None:
    """Its work is its own; nothing is said of the one before."""
    bench = Bench()
    bench.work_and_leave()
    bench.leavings.opened("text", bench.t())
    assert [bench.look(300, text=1) for _ in range(10)] == [[]] * 10


def test_a_request_that_was_there_before_is_no_evidence() -> None:
    """Another client's request may have begun long ago and still be at work."""
    bench = Bench()
    bench.work_and_leave()
    assert [bench.look(300, text=1) for _ in range(10)] == [[]] * 10


def test_a_neighbour_on_the_same_device_is_no_evidence() -> None:
    """Two servers on one device: the other one's request keeps it busy."""
    bench = Bench(PLACES)
    bench.look(70, 70)
    bench.leavings.opened("text", bench.t())
    bench.look(300, 70, text=1)
    bench.leavings.left("text", bench.t())
    bench.look(300, 70)
    bench.leavings.opened("image", bench.t())
    assert [bench.look(300, 300, image=1) for _ in range(10)] == [[]] * 10


def test_a_device_that_somebody_else_keeps_busy_is_compared_with_itself() -> None:
    """A program beside the server draws before, during and after: the server has stopped."""
    bench = Bench()
    assert bench.look(250) == []
    bench.leavings.opened("text", bench.t())
    bench.look(400, text=1)
    bench.leavings.left("text", bench.t())
    bench.look(400, text=1)
    said = [bench.look(260) for _ in range(10)]
    assert [one for one in said if one] == [[("text", False)]]


@pytest.mark.parametrize("watts", [70, 70 + WEAK // MICRO - 1])
def test_work_that_hardly_shows_says_nothing(watts: int) -> None:
    """A difference within the noise is no evidence of anything."""
    bench = Bench()
    bench.work_and_leave(watts)
    assert [bench.look(watts) for _ in range(10)] == [[]] * 10


def test_what_was_never_seen_at_rest_or_cannot_be_read_says_nothing() -> None:
    """Without something to compare with there is no verdict."""
    bench = Bench()
    bench.leavings.opened("text", bench.t())
    bench.look(300, text=1)
    bench.leavings.left("text", bench.t())
    assert [bench.look(300) for _ in range(7)] == [[]] * 7
    bench = Bench()
    bench.work_and_leave()
    assert [bench.look(None) for _ in range(10)] == [[]] * 10
    nowhere = Bench({"text": ()})
    nowhere.leavings.left("text", nowhere.t())
    assert [nowhere.look(300) for _ in range(10)] == [[]] * 10
