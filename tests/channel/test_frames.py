"""Frames survive any cutting, and garbage is found, never believed."""

from itertools import pairwise
from typing import Any, get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw, structs

from joulegate.channel import frames
from joulegate.channel.frames import (
    MAX_EVENT,
    MAX_FRAME,
    MAX_TEXT,
    SETTLED_IDS,
    VERSION,
    Events,
    FrameError,
    FrameSplitter,
    Goodbye,
    Hello,
    Ping,
    Pong,
    RefusedConnection,
    ReportFrame,
    SettledSpans,
    Welcome,
    Whole,
)
from joulegate.model import (
    Asked,
    BudgetLease,
    Fact,
    Figures,
    GateReport,
    JobNote,
    JobSign,
    JobState,
    Limits,
    Node,
    Outcome,
    Phase,
    SpanChunks,
    SpanClosed,
    SpanFigure,
    SpanFirstByte,
    SpanId,
    SpanJob,
    SpanOpened,
    Task,
    TaskFacts,
    Tier,
    UpstreamPrices,
    WorkPrice,
)
from joulegate.units import Micrograms, Microjoules, Microwatts, Nanoseconds

ID, T = SpanId("r-1"), Nanoseconds(5)
OPENED = SpanOpened(ID, T, "llm", "openai", Task.CHAT, asked=Asked(model="gemma", stream=True))
EVENTS: list[Any] = [
    OPENED,
    SpanFirstByte(ID, T),
    SpanChunks(ID, [T, Nanoseconds(6)], [3, 0]),
    SpanJob(ID, T, JobState.RUNNING),
    SpanClosed(
        ID,
        T,
        Outcome.CANCELLED,
        phase=Phase.RESPONSE,
        facts=TaskFacts(completion_tokens=Fact(12)),
        client_left=Nanoseconds(4),
    ),
]
EVENTS.append(Whole(OPENED, EVENTS[-1]))
REPORT = GateReport("gate-0", 42, in_flight=(("llm", 3),), dropped_events=1)


def bodies(data: bytes) -> list[bytes]:
    return FrameSplitter().feed(data)


@pytest.mark.parametrize("event", EVENTS)
def test_every_event_comes_out_as_it_went_in(event: Any) -> None:
    """Every kind of event passes the channel unchanged."""
    assert frames.unpack_event(frames.pack_event(event)) == event


@pytest.mark.parametrize("frame", [Hello("i", REPORT, VERSION), ReportFrame(REPORT), Goodbye(), Pong(T, T)])
def test_every_frame_of_a_gate_comes_out_as_it_went_in(frame: Any) -> None:
    """What a gate says is what the meter reads."""
    [body] = bodies(frames.pack(frame))
    assert frames.unpack_gate(body) == frame


METER_FRAMES = [
    Welcome("m", VERSION, T),
    RefusedConnection("why"),
    Ping(T),
    SettledSpans([ID]),
    Figures(
        (
            UpstreamPrices(
                "llm", (WorkPrice("steps", 1.5, 0.1),), Microwatts(3), Microwatts(4), Micrograms(5), 1.2
            ),
        ),
        (SpanFigure(ID, Microjoules(5), Microjoules(1), Micrograms(2), "step-clock", Tier.COUNTER, True),),
    ),
    Limits((BudgetLease("b", 1, 2, T, 4, 5, T),), ("gone",)),
]


@pytest.mark.parametrize("frame", METER_FRAMES)
def test_every_frame_of_a_meter_comes_out_as_it_went_in(frame: Any) -> None:
    """What a meter says is what the gate reads."""
    [body] = bodies(frames.pack(frame))
    assert frames.unpack_meter(body) == frame


def test_a_batch_carries_events_with_their_numbers() -> None:
    """Events travel in their order, each with its sequence number."""
    batch = Events([(number, Raw(frames.pack_event(event))) for number, event in enumerate(EVENTS, 1)])
    [body] = bodies(frames.pack(batch))
    read = frames.unpack_gate(body)
    assert isinstance(read, Events)
    assert [(number, frames.unpack_event(raw)) for number, raw in read.items] == list(enumerate(EVENTS, 1))


@given(st.lists(st.binary(min_size=1, max_size=300), max_size=8), st.lists(st.integers(0, 2500), max_size=12))
def test_frames_are_found_however_the_stream_is_cut(contents: list[bytes], cuts: list[int]) -> None:
    """A frame is the same whether it comes byte by byte or many at once."""
    stream = b"".join(len(content).to_bytes(4, "big") + content for content in contents)
    places = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    splitter = FrameSplitter()
    found = [body for start, end in pairwise(places) for body in splitter.feed(stream[start:end])]
    assert found == contents


@given(st.binary(max_size=200))
def test_garbage_is_refused_or_waited_for_and_nothing_else(garbage: bytes) -> None:
    """Bytes that are no frames give a FrameError or nothing, never another error."""
    try:
        found = bodies(garbage)
    except FrameError:
        return
    for body in found:
        with pytest.raises(FrameError):
            frames.unpack_gate(body)
        with pytest.raises(FrameError):
            frames.unpack_meter(body)


@given(st.binary(max_size=60), st.integers(0, 100))
def test_a_damaged_frame_is_read_whole_or_refused(noise: bytes, at: int) -> None:
    """Damage inside a frame never raises anything but FrameError."""
    [body] = bodies(frames.pack(Hello("i", REPORT, VERSION)))
    damaged = body[:at] + noise + body[at + len(noise) :]
    try:
        read = frames.unpack_gate(damaged)
    except FrameError:
        return
    assert read is None or isinstance(read, get_args(frames.GateFrame))


NAMES = st.text(st.characters(codec="ascii", categories=["L"]), min_size=1, max_size=8)


@given(st.dictionaries(NAMES.map("x_".__add__), st.integers(0, 2**40) | st.text(max_size=9), max_size=20))
def test_fields_of_a_newer_version_are_passed_over_and_counted(more: dict[str, Any]) -> None:
    """What a newer end adds to a frame costs an older one nothing but its count."""
    body = msgspec.msgpack.encode({"type": "ping", "t": 7, **more})
    read = frames.unpack_meter(body)
    assert read == Ping(Nanoseconds(7))
    assert frames.unknown_parts(body, read) == len(more)


@given(NAMES.map("x_".__add__), st.dictionaries(NAMES, st.integers(0, 9), max_size=20))
def test_a_kind_of_frame_of_a_newer_version_is_passed_over_and_counted(
    kind: str, rest: dict[str, int]
) -> None:
    """So that a gate and a meter of neighbouring versions work together."""
    body = msgspec.msgpack.encode({**rest, "type": kind})
    for unpack in (frames.unpack_gate, frames.unpack_meter):
        assert unpack(body) is None
    assert frames.unknown_parts(body, None) == 1


def test_a_known_kind_with_wrong_content_is_refused() -> None:
    """It is no newer version: it is garbage."""
    with pytest.raises(FrameError):
        frames.unpack_meter(msgspec.msgpack.encode({"type": "ping", "t": "now"}))


@pytest.mark.parametrize("length", [0, MAX_FRAME + 1, 2**32 - 1])
def test_an_impossible_length_is_refused_before_its_bytes_come(length: int) -> None:
    """A peer cannot make the other end wait for, or keep, four gigabytes."""
    with pytest.raises(FrameError, match=f"a frame of {length} bytes"):
        bodies(length.to_bytes(4, "big"))


def test_the_longest_frame_passes() -> None:
    """The bound itself is still allowed."""
    body = b"x" * MAX_FRAME
    assert bodies(MAX_FRAME.to_bytes(4, "big") + body) == [body]


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("gem\ud800ma", "gem?ma"),
        ("m" * 2 * MAX_EVENT, "m" * MAX_TEXT),
        ("\ud800" * MAX_EVENT, "?" * MAX_TEXT),
    ],
)
def test_a_hostile_model_name_is_tamed_and_its_request_not_lost(model: str, expected: str) -> None:
    """A lone surrogate or a megabyte in a name does not take the request out of the books."""
    event = structs.replace(OPENED, asked=Asked(model=model))
    read = frames.unpack_event(frames.pack_event(event))
    assert read == structs.replace(OPENED, asked=Asked(model=expected))


def test_names_of_a_jobs_steps_are_tamed_too() -> None:
    """A graph with a lone surrogate in it is a job like any other."""
    sign = JobSign("j", JobState.ACCEPTED, nodes=(Node("\ud800", "KSampler", 20),), skipped=("a\udfff",))
    read = frames.unpack_event(frames.pack_event(JobNote(ID, T, "comfy", sign, own=True)))
    assert isinstance(read, JobNote)
    assert (read.sign.nodes, read.sign.skipped) == ((Node("?", "KSampler", 20),), ("a?",))


def test_a_number_beyond_64_bits_is_cut() -> None:
    """A server that reports 10**30 tokens does not take its request out of the books."""
    event = SpanClosed(ID, T, Outcome.OK, facts=TaskFacts(prompt_tokens=Fact(10**30)))
    read = frames.unpack_event(frames.pack_event(event))
    assert read == SpanClosed(ID, T, Outcome.OK, facts=TaskFacts(prompt_tokens=Fact(2**63 - 1)))


def test_an_event_that_no_frame_can_hold_is_refused() -> None:
    """What cannot be made shorter is an error of its sender, not of the connection."""
    with pytest.raises(FrameError, match="longer than"):
        frames.pack_event(SpanChunks(ID, [T] * MAX_EVENT, [1] * MAX_EVENT))


def test_settled_ids_are_shared_among_frames_within_the_bound() -> None:
    """However many spans are settled at once, no frame is too long and none is left out."""
    ids = [SpanId(f"{number:0200}") for number in range(2 * SETTLED_IDS + 1)]
    read = [frames.unpack_meter(body) for body in bodies(b"".join(frames.settled_frames(ids)))]
    assert len(read) == 3
    assert [id_ for frame in read if isinstance(frame, SettledSpans) for id_ in frame.ids] == ids


def test_an_unknown_kind_of_event_is_refused() -> None:
    """An event of a newer version is an error of that event alone."""
    with pytest.raises(FrameError, match="not a frame"):
        frames.unpack_event(frames.msgspec.msgpack.encode({"type": "teleported", "id": "x"}))
