"""Whatever a meter sees, what it records is a trace that the reader takes."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from joulegate.cli.record import Line
from joulegate.meter.recording.recording import Host, Reason, Recording, Summary
from joulegate.model import (
    Asked,
    Device,
    DeviceId,
    DeviceLoad,
    EnergySample,
    Fact,
    JobState,
    Outcome,
    SourceFailure,
    SpanChunks,
    SpanClosed,
    SpanFirstByte,
    SpanId,
    SpanJob,
    SpanOpened,
    Task,
    TaskFacts,
    Tier,
    UpstreamSetup,
    WorkClass,
)
from joulegate.units import Microjoules, Microwatts, Nanoseconds

GPUS = tuple(Device(DeviceId(f"GPU-{n}"), n, "Test GPU", "fake", Tier.SYNTHETIC) for n in range(2))
FIRST, SECOND = (device.id for device in GPUS)
UPSTREAMS = {
    "llm": UpstreamSetup("llm", (FIRST,)),
    "any": UpstreamSetup("auto", (FIRST, SECOND), 4),
    "nowhere": UpstreamSetup("llm", ()),
    "strange": UpstreamSetup("llm", (DeviceId("GPU-9"),)),
}
BEGIN, END = 10 * 10**9, 20 * 10**9
MOST = 1 << 30


def host(idle: float | None = None) -> Host:
    return Host(GPUS, UPSTREAMS, "tokens", lambda: idle)


def at(t: float) -> Nanoseconds:
    return Nanoseconds(round(t * 10**9))


def recording(**bounds: int) -> Recording:
    return Recording(host(), Nanoseconds(BEGIN), Nanoseconds(END), **bounds)


def reading(t: float, device: DeviceId = FIRST, counter: int | None = 5_000_000) -> EnergySample:
    return EnergySample(
        device, at(t), None if counter is None else Microjoules(counter), Microwatts(75_000_000)
    )


def opened(id_: str, t: float, upstream: str = "llm", **more: Any) -> SpanOpened:
    return SpanOpened(SpanId(id_), at(t), upstream, "openai", Task.CHAT, **more)


def closed(id_: str, t: float, **more: Any) -> SpanClosed:
    return SpanClosed(SpanId(id_), at(t), **({"outcome": Outcome.OK} | more))


def lines(found: Recording) -> list[Line]:
    return [msgspec.json.decode(line, type=Line) for line in found.fetch(MOST).splitlines()]


def summary(found: Recording) -> Summary:
    last = lines(found)[-1].end
    assert last is not None
    return last


def test_a_report_on_processes_is_told_with_the_next_reading(
    tmp_path: Path, read_back: Callable[[bytes, Path], Any]
) -> None:
    """It stands in the file of readings, so that who does not know of it reads the file all the same."""
    found = recording()
    found.sample(reading(11))
    found.load(DeviceLoad(FIRST, at(11), at(12), own=40, foreign=55))
    found.sample(reading(11.9))
    found.sample(reading(12.1))
    found.sample(reading(12.2))
    found.finish(Reason.DONE, Nanoseconds(END))
    trace = read_back(found.fetch(MOST), tmp_path / "trace")
    assert trace.loads == (DeviceLoad(DeviceId("gpu-0000"), at(1), at(2), own=40, foreign=55),)


# --- any events in any order


ids = st.sampled_from([SpanId(f"r{n}") for n in range(4)])
times = st.integers(BEGIN - 2 * 10**9, END + 2 * 10**9).map(Nanoseconds)
facts = st.one_of(st.none(), st.integers(-1, 2**62).map(Fact))
task_facts = st.builds(
    TaskFacts,
    prompt_tokens=facts,
    completion_tokens=facts,
    cached_prompt_tokens=facts,
    images=facts,
    steps=facts,
)
numbers = st.one_of(st.none(), st.integers(-1, 2**62))
asked = st.builds(Asked, stream=st.sampled_from([None, True, False]), max_tokens=numbers, width=numbers,
                  height=numbers, steps=numbers, images=numbers)  # fmt: skip
chunk_lists = st.lists(st.tuples(times, st.integers(-1, 50)), max_size=6)
devices = st.sampled_from([FIRST, SECOND, DeviceId("GPU-7")])
counters = st.one_of(st.none(), st.integers(-1, 10**15).map(Microjoules))
powers = st.one_of(st.none(), st.integers(-1, 10**9).map(Microwatts))
inputs = st.one_of(
    st.builds(
        SpanOpened, id=ids, t=times, upstream=st.sampled_from([*UPSTREAMS, "unknown"]), protocol=st.just("p"),
        task=st.sampled_from(Task), work=st.sampled_from(WorkClass), asked=asked,
        body_bytes=st.integers(-1, 2**62), tenant=st.just("SECRET"), client_request_id=st.just("SECRET"),
    ),
    st.builds(SpanFirstByte, id=ids, t=times),
    st.builds(
        lambda id_, chunks: SpanChunks(id_, [t for t, _ in chunks], [size for _, size in chunks]),
        ids,
        chunk_lists,
    ),
    st.builds(SpanJob, id=ids, t=times, state=st.sampled_from(JobState)),
    st.builds(
        SpanClosed, id=ids, t=times, outcome=st.sampled_from(Outcome), facts=task_facts,
        streamed=st.booleans(), status=st.sampled_from([None, 200, 404, 500]),
        response_bytes=st.integers(-1, 2**62),
        client_left=st.one_of(st.none(), times), model=st.just("SECRET"),
    ),
    st.builds(EnergySample, device=devices, t=times, counter=counters, power=powers),
    st.builds(SourceFailure, device=devices, t=times, code=st.just("lost"), message=st.just("SECRET")),
    st.builds(
        DeviceLoad, device=devices, since=times, t=times, own=st.integers(0, 300), foreign=st.integers(0, 300)
    ),
)  # fmt: skip


@st.composite
def lives(draw: Callable[[Any], Any]) -> list[Any]:
    """A request as it goes, its times near one another and now and then in a wrong order."""
    id_ = draw(ids)
    offsets = [draw(st.integers(-3 * 10**8, 2 * 10**9)) for _ in range(3)]
    start = draw(times)
    first, *chunks = sorted(start + draw(st.integers(-(10**8), 2 * 10**9)) for _ in range(4))
    events = [
        opened(id_, start / 10**9, draw(st.sampled_from(["llm", "any"]))),
        SpanFirstByte(id_, Nanoseconds(first)),
        SpanChunks(id_, [Nanoseconds(t) for t in draw(st.permutations(chunks))], [1, 2, 3]),
        SpanClosed(id_, Nanoseconds(start + offsets[1]), Outcome.OK, streamed=True),
        SpanChunks(id_, [Nanoseconds(start + offsets[2])], [1]),
    ]
    return [event for event in events if draw(st.integers(0, 4))]


@settings(max_examples=150)
@given(
    st.lists(st.one_of(inputs.map(lambda one: [one]), lives()), max_size=20).map(
        lambda parts: [event for part in parts for event in part]
    ),
    st.sets(st.sampled_from([FIRST, SECOND])),
    st.lists(st.builds(opened, ids, st.integers(7, 12), st.sampled_from(["llm", "any"]))),
    st.sampled_from(Reason),
    st.integers(BEGIN, END + 10**9),
)
def test_every_recording_is_a_trace(
    read_back: Callable[[bytes, Path], Any],
    seen: list[Any],
    read: set[DeviceId],
    before: list[SpanOpened],
    reason: Reason,
    now: int,
) -> None:
    """The reader of `joulegate replay` takes it, and it says nothing that the format does not ask for."""
    found = recording()
    for device in sorted(read):
        found.sample(reading(10, device))
    for place, request in enumerate(before):
        found.open(request, is_answered=place % 2 == 0)
    for one in seen:
        if isinstance(one, EnergySample | SourceFailure):
            found.sample(one)
        elif isinstance(one, DeviceLoad):
            found.load(one)
        else:
            found.event(one)
    found.finish(reason, Nanoseconds(now))
    text = found.fetch(MOST)
    assert b"SECRET" not in text
    with tempfile.TemporaryDirectory() as folder:
        trace = read_back(text, Path(folder))
    last = msgspec.json.decode(text.splitlines()[-1], type=Line).end
    assert last is not None
    assert (last.reason, last.requests, last.readings) == (reason, len(trace.tasks), len(trace.samples))
    chunks = sum(size for event in trace.events if isinstance(event, SpanChunks) for size in event.sizes)
    streams = [event for event in trace.events if isinstance(event, SpanClosed) and event.streamed]
    assert chunks == sum(event.response_bytes for event in streams)


# --- one by one


def test_a_request_under_way_at_the_end_has_no_end() -> None:
    """It counts as running until the last row; one that came later is not there at all."""
    found = recording()
    found.sample(reading(10))
    found.event(opened("a", 11))
    found.event(opened("later", 20.2))
    found.event(closed("a", 20.5))
    found.finish(Reason.DONE, Nanoseconds(END + 10**9))
    told = lines(found)
    rows = [bytes(line.trace) for line in told if line.trace]
    assert [b'"ev":"start"' in row for row in rows] == [True]
    assert told[-1].end == Summary(Reason.DONE, 10.0, requests=1, readings=1, clipped=0, left_out=0)


def test_a_request_told_of_in_one_event_is_the_same_in_a_trace() -> None:
    """Its end brings the first byte."""
    rows = []
    for last in ([SpanFirstByte(SpanId("a"), at(12)), closed("a", 13)], [closed("a", 13, first_byte=at(12))]):
        found = recording()
        found.sample(reading(10))
        for event in [opened("a", 11), *last]:
            found.event(event)
        found.finish(Reason.DONE, Nanoseconds(END))
        rows.append([bytes(line.trace) for line in lines(found) if line.trace])

    assert rows[0] == rows[1]
    assert any(b'"ev":"first_byte"' in row for row in rows[1])


def test_a_request_that_was_over_before_is_left_out() -> None:
    """Its end was only told late."""
    found = recording()
    found.sample(reading(10))
    found.open(opened("a", 8), is_answered=False)
    found.event(closed("a", 9.9))
    found.finish(Reason.DONE, Nanoseconds(END))
    assert summary(found) == Summary(Reason.DONE, 10.0, requests=0, readings=1, clipped=0, left_out=0)


def test_an_end_that_is_told_before_its_start_ends_nothing_later() -> None:
    """A start that comes after its end does not run for ever."""
    found = recording()
    found.sample(reading(10))
    found.event(closed("a", 12))
    found.event(opened("a", 11))
    found.finish(Reason.DONE, Nanoseconds(END))
    assert summary(found).requests == 0


def test_health_checks_are_no_requests() -> None:
    """What cannot cause work is not in the trace."""
    found = recording()
    found.sample(reading(10))
    found.event(opened("a", 11, work=WorkClass.PROBE))
    found.finish(Reason.DONE, Nanoseconds(END))
    assert (summary(found).requests, summary(recording_with("llm", "nowhere", "unknown")).left_out) == (0, 2)


def test_what_a_machine_elsewhere_answered_is_no_request() -> None:
    """Only its answer tells; it leaves no rows behind."""
    found = recording()
    found.sample(reading(10))
    found.event(opened("a", 11))
    found.event(closed("a", 12, facts=TaskFacts(work=WorkClass.REMOTE)))
    found.finish(Reason.DONE, Nanoseconds(END))
    told = lines(found)
    assert [line.trace for line in told if line.trace] == []
    assert told[-1].end is not None
    assert told[-1].end.requests == 0


def recording_with(*upstreams: str) -> Recording:
    found = recording()
    found.sample(reading(10))
    for place, name in enumerate(upstreams):
        found.event(opened(f"r{place}", 11, name))
    found.finish(Reason.DONE, Nanoseconds(END))
    return found


def test_an_upstream_without_readings_is_left_out_until_it_has_some() -> None:
    """A trace that names a device without a reading is refused, and nothing could be said of its energy."""
    found = recording()
    found.event(opened("a", 11))
    found.sample(SourceFailure(FIRST, at(11.5), "lost"))
    found.event(opened("b", 12))
    found.sample(reading(13))
    found.event(opened("c", 14))
    found.finish(Reason.DONE, Nanoseconds(END))
    told = summary(found)
    assert (told.requests, told.left_out, told.readings) == (1, 2, 2)


def test_an_upstream_keeps_its_place(read_back: Callable[[bytes, Path], Any], tmp_path: Path) -> None:
    """A trace has one place for each upstream: that of its first request."""
    upstreams = {"llm": UpstreamSetup("llm", (FIRST,))}
    found = Recording(Host(GPUS, upstreams, "tokens", lambda: 140.0), Nanoseconds(BEGIN), Nanoseconds(END))
    found.sample(reading(10))
    found.event(opened("a", 11))
    upstreams["llm"] = UpstreamSetup("llm", (SECOND,))
    found.event(opened("b", 12))
    found.finish(Reason.DONE, Nanoseconds(END))
    setup = read_back(found.fetch(MOST), tmp_path).setup
    assert (setup.upstreams["llm"].devices, len(setup.devices)) == (("gpu-0000",), 2)
    assert list(setup.idle_power.values()) == [70_000_000, 70_000_000]


@pytest.mark.parametrize(
    ("request_facts", "wish", "kind"),
    [
        (TaskFacts(completion_tokens=Fact(3)), Asked(), "llm"),
        (TaskFacts(images=Fact(1)), Asked(), "image"),
        (TaskFacts(), Asked(width=64, height=64), "image"),
    ],
)
def test_the_kind_of_a_server_is_found_out(
    read_back: Callable[[bytes, Path], Any],
    tmp_path: Path,
    request_facts: TaskFacts,
    wish: Asked,
    kind: str,
) -> None:
    """Where the configuration does not say it, its requests do."""
    found = recording()
    for device in (FIRST, SECOND):
        found.sample(reading(10, device))
    found.event(opened("a", 11, "any", asked=wish))
    found.event(closed("a", 12, facts=request_facts))
    found.finish(Reason.DONE, Nanoseconds(END))
    setup = read_back(found.fetch(MOST), tmp_path).setup
    assert (setup.upstreams["any"].kind, setup.upstreams["any"].concurrency) == (kind, 4)
    assert setup.upstreams["llm"].kind == "llm"


def test_the_setup_is_known_at_every_moment() -> None:
    """Who is cut off from the meter has a trace all the same: each upstream is told before its requests."""
    found = recording()
    found.sample(reading(10))
    assert [bool(line.setup) for line in lines(found)] == [True, False]
    found.event(opened("a", 11))
    found.event(closed("a", 12))
    first, *rest = lines(found)
    assert b'"llm":{"kind":"llm","gpus":[0]}' in bytes(first.setup)
    assert all(line.trace for line in rest)


def test_a_reader_that_is_too_slow_gets_a_whole_trace_of_what_it_was_sent(
    read_back: Callable[[bytes, Path], Any], tmp_path: Path
) -> None:
    """The recording ends there and says so; the meter keeps no more than a bound."""
    found = recording(queued=20_000)
    found.sample(reading(10))
    place = 0
    while not found.ended:
        place += 1
        found.event(opened(f"r{place}", 11))
        found.event(closed(f"r{place}", 12))
        found.sample(reading(10 + place / 1000))
    found.event(opened("late", 13))
    found.sample(reading(19))
    text = found.fetch(MOST)
    assert len(text) < 22_000
    trace = read_back(text, tmp_path)
    last = msgspec.json.decode(text.splitlines()[-1], type=Line).end
    assert last is not None
    assert (last.reason, last.requests) == (Reason.SLOW, len(trace.tasks))
    assert last.seconds == pytest.approx(place / 1000, abs=0.002)


def test_a_reader_that_keeps_up_is_never_cut_off() -> None:
    """Only what waits counts."""
    found = recording(queued=3_000)
    found.sample(reading(10))
    for place in range(200):
        found.event(opened(f"r{place}", 11))
        found.event(closed(f"r{place}", 12))
        while found.fetch(500):
            pass
    assert not found.ended


def test_more_chunks_than_are_kept_end_it() -> None:
    """What is held for requests under way is bounded too."""
    found = recording(held=5)
    found.sample(reading(10))
    for name in ("a", "b"):
        found.event(opened(name, 11))
        found.event(SpanChunks(SpanId(name), [at(12), at(13), at(14)], [1, 1, 1]))
    assert summary(found).reason is Reason.CROWDED
    found = recording(held=5)
    found.sample(reading(10))
    for name in ("a", "b", "c"):
        found.event(opened(name, 11))
        found.event(SpanChunks(SpanId(name), [at(12), at(13), at(14)], [1, 1, 1]))
        found.event(closed(name, 14))
    assert not found.ended


def test_a_fault_ends_it_with_a_word() -> None:
    """What is under way is missing; what was written stays."""
    found = recording()
    found.sample(reading(10))
    found.event(opened("a", 11))
    found.fail()
    assert (summary(found).reason, found.ended) == (Reason.FAILED, True)


def test_a_card_without_a_counter_gives_power() -> None:
    """And a reading that says nothing is none."""
    found = recording()
    found.sample(reading(11, counter=None))
    found.sample(EnergySample(FIRST, at(12)))
    rows = [bytes(line.nvml) for line in lines(found) if line.nvml]
    assert rows == [b'{"t":1.0,"gpu":0,"power_mw":75000}']
