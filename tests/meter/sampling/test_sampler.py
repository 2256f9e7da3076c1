"""Readings at their cadence, with devices that fail and hang."""

import threading
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from joulegate.errors import SourceInvalid, SourceUnavailable
from joulegate.meter.sampling.sampler import LONGEST_PAUSE, PATIENCE, SHORTEST_PAUSE, Sampler, Watch
from joulegate.model import DeviceId, EnergySample, SourceFailure
from joulegate.testing.source import ScriptedSource, gpu
from joulegate.units import Microjoules, Microwatts, Nanoseconds

A, B = DeviceId("GPU-0"), DeviceId("GPU-1")
MS = 1_000_000
PERIOD, DEADLINE = Nanoseconds(100 * MS), Nanoseconds(250 * MS)
Reading = EnergySample | SourceFailure


def _ns(milliseconds: int) -> Nanoseconds:
    return Nanoseconds(milliseconds * MS)


def _good(t: int = 0) -> EnergySample:
    return EnergySample(A, _ns(t), Microjoules(t))


def _bad(code: str = "lost") -> SourceFailure:
    return SourceFailure(A, _ns(0), code)


@pytest.fixture
def watch() -> Watch:
    return Watch(A, period=PERIOD, deadline=DEADLINE)


def test_a_good_reading_is_news(watch: Watch) -> None:
    """A reading in time is passed on, and the device is up."""
    watch.begin(_ns(0))
    assert watch.end(_ns(5), _good()) == _good()
    assert (watch.health().up, watch.health().last) == (True, _good())


def test_nothing_is_known_before_the_first_reading(watch: Watch) -> None:
    """Before the first reading a device is neither up nor down."""
    assert watch.health().up is None


def test_a_counter_without_power_readings_tells_power_by_its_rise(watch: Watch) -> None:
    """Watts are shown for every device: as read, else from the counter over about a second."""
    for tenth in range(13):
        watch.begin(Nanoseconds(tenth * 10**8))
        watch.end(Nanoseconds(tenth * 10**8), EnergySample(A, Nanoseconds(tenth * 10**8), counter(tenth * 5)))
    assert watch.health().power == 50_000_000
    watch.begin(Nanoseconds(2 * 10**9))
    watch.end(Nanoseconds(2 * 10**9), EnergySample(A, Nanoseconds(2 * 10**9), counter(0)))
    assert watch.health().power is None, "the counter restarted"
    read = EnergySample(A, Nanoseconds(3 * 10**9), counter(9), Microwatts(7))
    watch.begin(read.t)
    watch.end(read.t, read)
    assert watch.health().power == 7


def counter(joules: int) -> Microjoules:
    return Microjoules(joules * 10**6)


def test_a_stall_is_told_once(watch: Watch) -> None:
    """A call over its deadline is one failure, however long it goes on."""
    watch.begin(_ns(0))
    assert watch.overdue(_ns(250)) is None
    failure = watch.overdue(_ns(251))
    assert failure is not None
    assert failure.code == "stalled"
    assert watch.health().stalled
    assert [watch.overdue(_ns(t)) for t in (300, 5_000, 60_000)] == [None, None, None]
    assert watch.health().errors == (("stalled", 1),)


def test_a_late_value_is_dropped(watch: Watch) -> None:
    """What a stalled call gives in the end has no certain time; the next call is due at once."""
    watch.begin(_ns(0))
    watch.overdue(_ns(300))
    assert watch.end(_ns(900), _good()) is None
    assert watch.due(_ns(0), _ns(900)) == _ns(900)
    assert not watch.health().stalled
    watch.begin(_ns(900))
    assert watch.end(_ns(901), _good(901)) == _good(901)
    assert watch.health().up


def test_a_late_value_that_no_one_noticed_is_a_stall(watch: Watch) -> None:
    """A call that returns after the deadline before the watch looked is told as stalled, once."""
    watch.begin(_ns(0))
    failure = watch.end(_ns(300), _good())
    assert isinstance(failure, SourceFailure)
    assert failure.code == "stalled"
    assert watch.overdue(_ns(301)) is None


def test_readings_keep_their_cadence(watch: Watch) -> None:
    """The next call is one period after the last one began, not after it ended."""
    watch.begin(_ns(1000))
    watch.end(_ns(1030), _good())
    assert watch.due(_ns(1000), _ns(1030)) == _ns(1100)


def test_failures_are_spaced_out(watch: Watch) -> None:
    """Short faults are retried at the cadence, long ones after 1, 2, 4 … up to 60 seconds."""
    pauses = []
    for _ in range(PATIENCE + 9):
        watch.begin(_ns(0))
        watch.end(_ns(1), _bad())
        pauses.append(watch.due(_ns(0), _ns(1)) - _ns(1))
    assert pauses[:PATIENCE] == [_ns(99)] * PATIENCE
    assert [pause // SHORTEST_PAUSE for pause in pauses[PATIENCE:]] == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    watch.begin(_ns(0))
    watch.end(_ns(1), _good())
    assert watch.due(_ns(0), _ns(1)) == _ns(100)


def test_the_pause_never_overflows(watch: Watch) -> None:
    """After days of failures the pause is still the longest one."""
    for _ in range(5000):
        watch.begin(_ns(0))
        watch.end(_ns(1), _bad())
    assert watch.due(_ns(0), _ns(1)) - _ns(1) == LONGEST_PAUSE


@given(st.lists(st.tuples(st.integers(0, 600), st.booleans(), st.lists(st.integers(1, 700), max_size=3))))
def test_each_call_is_told_at_most_once(calls: list[tuple[int, bool, list[int]]]) -> None:
    """Whatever the durations and looks, a call is one good reading or one failure, and all are counted."""
    watch = Watch(A, period=PERIOD, deadline=DEADLINE)
    t, failures = 0, 0
    for duration, good, looks in calls:
        watch.begin(_ns(t))
        told: list[Reading | None] = [
            watch.overdue(_ns(t + look)) for look in sorted(looks) if look < duration
        ]
        told.append(watch.end(_ns(t + duration), _good() if good else _bad()))
        news = [reading for reading in told if reading is not None]
        assert len(news) == 1
        assert isinstance(news[0], EnergySample) == (good and duration <= 250)
        failures += isinstance(news[0], SourceFailure)
        t += duration + 1
    assert sum(count for _, count in watch.health().errors) == failures


class Inbox:
    """What the sampler delivered; a test waits for what it expects."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._readings: list[Reading] = []

    def __call__(self, reading: Reading) -> None:
        with self._changed:
            self._readings.append(reading)
            self._changed.notify_all()

    def of(self, device: DeviceId) -> list[Reading]:
        with self._changed:
            return [reading for reading in self._readings if reading.device == device]

    def wait(self, wanted: Callable[[list[Reading]], bool], device: DeviceId = A) -> None:
        with self._changed:
            done = self._changed.wait_for(
                lambda: wanted([reading for reading in self._readings if reading.device == device]), 10
            )
        assert done, self._readings


@pytest.fixture
def source() -> ScriptedSource:
    source = ScriptedSource([gpu(0), gpu(1)])
    source.give(A, 1)
    source.give(B, 2)
    return source


@pytest.fixture
def inbox() -> Inbox:
    return Inbox()


@pytest.fixture
def sampler(source: ScriptedSource, inbox: Inbox) -> Iterator[Sampler]:
    sampler = Sampler(source, source.open(), inbox, period=_ns(5), deadline=_ns(50))
    yield sampler
    for device in (A, B):
        source.release(device)
    sampler.stop()


def _goods(readings: list[Reading]) -> int:
    return sum(isinstance(reading, EnergySample) for reading in readings)


def _codes(readings: list[Reading]) -> list[str]:
    return [reading.code for reading in readings if isinstance(reading, SourceFailure)]


def test_every_device_is_read(sampler: Sampler, inbox: Inbox) -> None:
    """All devices are read again and again."""
    sampler.start()
    inbox.wait(lambda readings: _goods(readings) >= 3, A)
    inbox.wait(lambda readings: _goods(readings) >= 3, B)
    assert sampler.health()[A].up


def test_a_device_that_hangs_stalls_alone(sampler: Sampler, source: ScriptedSource, inbox: Inbox) -> None:
    """A call that hangs is told once; the other device goes on; after the call returns so does this one."""
    source.hang(A)
    sampler.start()
    inbox.wait(lambda readings: _codes(readings) == ["stalled"])
    so_far = len(inbox.of(B))
    inbox.wait(lambda readings: _goods(readings) >= so_far + 5, B)
    assert sampler.health()[A].stalled
    assert source.reads[A] == 1
    source.release(A)
    inbox.wait(lambda readings: _goods(readings) >= 2)
    assert _codes(inbox.of(A)) == ["stalled"]
    assert sampler.health()[A].up
    assert not sampler.health()[A].stalled


def test_stop_does_not_wait_for_a_hung_call(sampler: Sampler, source: ScriptedSource, inbox: Inbox) -> None:
    """Stopping abandons a call that hangs, and says so, for its source must not be closed under it."""
    source.hang(A)
    sampler.start()
    assert source.hanging(A)
    inbox.wait(lambda readings: _goods(readings) >= 1, B)
    assert sampler.stop() is False


def test_stop_ends_the_readings(sampler: Sampler, inbox: Inbox) -> None:
    """After stop nothing is read, and the source may be closed."""
    sampler.start()
    inbox.wait(lambda readings: _goods(readings) >= 1)
    assert sampler.stop() is True
    threads = [reader.thread for reader in sampler._readers.values()]
    assert [thread is not None and thread.is_alive() for thread in threads] == [False, False]


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (SourceUnavailable("gone", code="NVMLError_GpuIsLost"), "NVMLError_GpuIsLost"),
        (SourceInvalid("nonsense"), "invalid"),
        (ZeroDivisionError("a fault of a plug-in"), "ZeroDivisionError"),
    ],
)
def test_failures_have_their_code(
    sampler: Sampler, source: ScriptedSource, inbox: Inbox, error: Exception, code: str
) -> None:
    """Every kind of error is a failure with its code, and the other device is read on."""
    source.fail(A, error)
    sampler.start()
    inbox.wait(lambda readings: code in _codes(readings))
    inbox.wait(lambda readings: _goods(readings) >= 3, B)
    assert dict(sampler.health()[A].errors)[code] >= 1
    assert sampler.health()[A].up is False


def test_first_failure_and_recovery_are_logged_and_nothing_between(
    source: ScriptedSource, inbox: Inbox
) -> None:
    """The log has one line when a device is lost and one when it is back."""
    with capture_logs() as lines:
        sampler = Sampler(source, source.open(), inbox, period=_ns(2), deadline=_ns(500))
        source.fail(A, SourceUnavailable("gone", code="lost"))
        sampler.start()
        inbox.wait(lambda readings: len(_codes(readings)) >= 5)
        source.give(A, 3)
        inbox.wait(lambda readings: _goods(readings) >= 3)
        sampler.stop()
    events = [(line["event"], line["device"]) for line in lines]
    assert events == [("source.lost", A), ("source.recovered", A)]
    assert lines[0]["code"] == "lost"


def test_samples_of_a_device_come_in_order(sampler: Sampler, source: ScriptedSource, inbox: Inbox) -> None:
    """Readings of one device are delivered in the order in which they were made."""
    for counter in range(1, 30):
        source.give(A, counter, counter)
        if counter == 1:
            sampler.start()
        inbox.wait(
            lambda readings, counter=counter: any(  # type: ignore[misc]
                isinstance(reading, EnergySample) and reading.counter == counter for reading in readings
            )
        )
    times = [reading.t for reading in inbox.of(A)]
    assert times == sorted(times)
