"""What goes into attribution goes into recordings, and settles there to the same figures."""

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from joulegate import attribution
from joulegate.meter.recording.recorder import NothingToRecord, Recorder, TooMany
from joulegate.meter.recording.recording import Reason, Recording
from joulegate.meter.requests.open_requests import OpenRequests
from joulegate.meter.requests.record_writer import RecordWriter
from joulegate.meter.requests.settlement import Settlement, Settlements
from joulegate.model import (
    Asked,
    EnergySample,
    Fact,
    Outcome,
    Settled,
    SpanChunks,
    SpanClosed,
    SpanId,
    SpanOpened,
    Task,
    TaskFacts,
    UpstreamSetup,
    WindowBooks,
)
from joulegate.replay import replay
from joulegate.units import NANO, Microjoules, Microwatts, Nanoseconds

MOST = 1 << 30
SETTLE = Nanoseconds(5 * NANO)


@pytest.fixture
def recorder(settlement: Settlement, attributor: Any, words: Any, clock: Any) -> Recorder:
    setups = {"llm": UpstreamSetup("llm", (words.gpu,))}
    return Recorder(
        settlement, [words.device], setups, method="tokens", health=attributor.health, now=clock.now
    )


def rows(recording: Recording) -> list[str]:
    recording.finish(Reason.DONE, recording.until)
    return recording.fetch(MOST).decode().splitlines()


def test_it_listens_while_there_is_a_recording(recorder: Recorder, settlement: Settlement) -> None:
    """Without one it costs nothing and keeps nothing."""
    assert settlement.listeners == []
    first, second = (recorder.begin(SETTLE)[0] for _ in range(2))
    assert settlement.listeners == [recorder]
    recorder.release(first)
    recorder.release(first)
    assert settlement.listeners == [recorder]
    recorder.release(second)
    assert settlement.listeners == []


def test_so_many_run_at_once_and_no_more(recorder: Recorder) -> None:
    """One that nobody reads any more makes room for the next."""
    name, first = recorder.begin(SETTLE)
    recorder.begin(SETTLE)
    with pytest.raises(TooMany, match="2 recordings run already"):
        recorder.begin(SETTLE)
    assert recorder.end(name)
    assert first.ended
    recorder.release(name)
    assert not recorder.end(name)
    recorder.begin(SETTLE)


def test_without_a_source_there_is_nothing_to_record(settlement: Settlement, attributor: Any) -> None:
    """It says so at once."""
    with pytest.raises(NothingToRecord, match="no energy source"):
        Recorder(settlement, [], {}, method="tokens", health=attributor.health).begin(SETTLE)


def test_a_recording_begins_with_the_last_reading(
    recorder: Recorder, settlement: Settlement, words: Any, clock: Any
) -> None:
    """So that the energy from its first moment on is known; an old reading is no beginning."""
    settlement.sample(words.sample(999.9, 5_000))
    _, recording = recorder.begin(SETTLE)
    assert [row for row in rows(recording) if "nvml" in row] == ['{"nvml":{"t":0.0,"gpu":0,"energy_mj":5}}']
    clock.t += 2 * NANO
    _, late = recorder.begin(SETTLE)
    assert [row for row in rows(late) if "nvml" in row] == []


def test_requests_under_way_are_there_from_the_start(
    recorder: Recorder, settlement: Settlement, words: Any
) -> None:
    """Those that ended are not; those whose answer had begun have no prompt left."""
    settlement.sample(words.sample(999.9, 5_000))
    for id_ in ("waits", "answers", "over"):
        settlement.event("gate", words.opened(id_, 990, body_bytes=77))
    settlement.event("gate", words.first_byte("answers", 995))
    settlement.event("gate", words.closed("over", 996))
    _, recording = recorder.begin(SETTLE)
    starts = [row for row in rows(recording) if '"start"' in row]
    assert [('"waits"' in row, '"body_bytes":77' in row, '"clipped":true' in row) for row in starts] == [
        (True, True, True),
        (False, False, True),
    ]


def test_a_recording_ends_when_its_time_is_over(recorder: Recorder, clock: Any) -> None:
    """And a little later, for gates tell late."""
    _, recording = recorder.begin(SETTLE)
    clock.t += 5 * NANO
    recorder.poll(recording)
    assert not recording.ended
    clock.t += NANO
    recorder.poll(recording)
    assert recording.ended


def test_a_meter_that_stops_ends_its_recordings(
    recorder: Recorder, settlement: Settlement, words: Any
) -> None:
    """Whoever reads gets the rest and need not wait."""
    _, recording = recorder.begin(SETTLE)
    settlement.drain(words.at(1_001), words.at(1_001))
    assert '"reason":"meter_stopped"' in recording.fetch(MOST).decode()


def test_a_fault_of_a_recording_ends_that_one_only(
    recorder: Recorder,
    settlement: Settlement,
    attributor: Any,
    words: Any,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Metering never suffers from being watched; nor does watching from a fault in metering."""
    _, recording = recorder.begin(SETTLE)
    settlement.sample(words.sample(1_000, 5))
    settlement.event("gate", words.opened("a"))
    settlement.event("gate", SpanClosed(SpanId("a"), "noon", Outcome.OK))  # type: ignore[arg-type]
    assert len(attributor.events) == 2
    assert '"reason":"failed"' in recording.fetch(MOST).decode()
    assert "recording.failed" in capsys.readouterr().out
    _, other = recorder.begin(SETTLE)
    attributor.events = None
    with pytest.raises(AttributeError):
        settlement.event("gate", words.opened("b", 1_001))
    assert any('"id":"b"' in row for row in rows(other))


# --- the whole way


class Live:
    """A made-up server on one device: 60 W at rest, and joules by token."""

    def __init__(self, method: str, words: Any, clock: Any, settle: Nanoseconds) -> None:
        setups = {"llm": UpstreamSetup("llm", (words.gpu,))}
        attributor = attribution.build(method, setups, [words.device], settle=settle, idle_power={})
        writer = RecordWriter({}, {}, lambda *_: None)
        self.settlement = Settlement(attributor, writer, OpenRequests(lambda _: False), boot="boot")
        self.recorder = Recorder(
            self.settlement,
            [words.device],
            setups,
            method=method,
            health=attributor.health,
            now=clock.now,
        )
        self.clock, self.gpu = clock, words.gpu
        self.figures: dict[str, Settled] = {}
        self.books: list[WindowBooks] = []
        self._energy = 0

    def pass_time(self, seconds: int, events: list[tuple[int, Any]]) -> None:
        """Let time pass in steps of 50 ms; each event is told at its own time, each token takes 0.3 J."""
        for _ in range(seconds * 20):
            self.clock.t += NANO // 20
            self._energy += 3_000_000
            while events and events[0][0] <= self.clock.t:
                event = events.pop(0)[1]
                self._energy += 300_000 * len(event.times) if isinstance(event, SpanChunks) else 0
                self.settlement.event("gate", event)
            if self.clock.t % (NANO // 10) == 0:
                reading = EnergySample(
                    self.gpu, self.clock.now(), Microjoules(self._energy), Microwatts(60_000_000)
                )
                self.settlement.sample(reading)
            if self.clock.t % (NANO // 2) == 0:
                self.note(self.settlement.advance(self.clock.now(), self.clock.now()))

    def note(self, found: Settlements) -> None:
        self.figures.update({record.id: record.settled for record in found.records})
        self.books += found.books


def traffic(begin: int, rng: random.Random) -> list[tuple[int, Any]]:
    """Streams that overlap, one of them left by its client."""
    found: list[tuple[int, Any]] = []
    for place in range(30):
        id_ = SpanId(f"r{place:02}")
        start, tokens = begin + rng.randrange(30 * NANO), rng.randint(10, 150)
        times = [Nanoseconds(start + 80_000_000 + 20_000_000 * n) for n in range(tokens)]
        facts = TaskFacts(prompt_tokens=Fact(50), completion_tokens=Fact(tokens))
        left = place == 7
        opened = SpanOpened(
            id_, Nanoseconds(start), "llm", "openai", Task.CHAT, asked=Asked(stream=True), body_bytes=200
        )
        outcome = Outcome.CANCELLED if left else Outcome.OK
        closed = SpanClosed(
            id_, Nanoseconds(times[-1] + 1_000_000), outcome, streamed=True,
            facts=TaskFacts() if left else facts,
        )  # fmt: skip
        found += [(opened.t, opened), (closed.t, closed)]
        found += [(t, SpanChunks(id_, [t], [4])) for t in times]
    return sorted(found, key=lambda pair: pair[0])


@pytest.mark.parametrize("method", ["tokens", "step-clock"])
def test_a_recording_settles_to_the_live_figures(
    words: Any, clock: Any, read_back: Callable[[bytes, Path], Any], tmp_path: Path, method: str
) -> None:
    """The same rule finds the same joules, and the books of both are exact."""
    live = Live(method, words, clock, SETTLE)
    live.pass_time(1, [])
    _, recording = live.recorder.begin(Nanoseconds(50 * NANO))
    live.pass_time(55, traffic(clock.t + NANO, random.Random(7)))
    live.recorder.poll(recording)
    live.note(live.settlement.drain(clock.now(), clock.now()))
    result = replay(read_back(recording.fetch(MOST), tmp_path), method, SETTLE)

    (books,) = result.books
    assert books.counter == books.requests + books.idle + books.unattributed
    assert books.requests == sum(figure.energy or 0 for figure in result.requests.values())
    assert all(window.error() == 0 for window in live.books)
    assert len(result.requests) == len(live.figures) == 30
    pairs = [(live.figures[id_].energy, figure.energy) for id_, figure in result.requests.items()]
    known = [(mine, theirs) for mine, theirs in pairs if mine and theirs]
    assert len(known) == 30
    error = sum(abs(mine - theirs) for mine, theirs in known) / sum(mine for mine, _ in known)
    assert error < 0.02
