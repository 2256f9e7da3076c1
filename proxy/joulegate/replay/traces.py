"""Reading recorded traces: what a proxy saw and what the counters showed, in plain files.

The format is described in ``docs/recording.md``. A malformed row is an error with its file, line and field;
a counter that goes backwards, a failed read or a request that never ends are the facts of life and are not.
"""

from collections.abc import Sequence
from pathlib import Path

from msgspec import Struct

from joulegate.errors import TraceError
from joulegate.model import (
    Asked,
    DeviceLoad,
    EnergySample,
    Fact,
    JobState,
    Outcome,
    Phase,
    ServerTimings,
    SourceFailure,
    SpanChunks,
    SpanClosed,
    SpanEvent,
    SpanFirstByte,
    SpanId,
    SpanJob,
    SpanOpened,
    Task,
    TaskFacts,
)
from joulegate.replay.fields import Row, document, rows
from joulegate.replay.replay_setup import ReplaySetup, device_id, read_setup
from joulegate.units import Microjoules, Microwatts, Nanoseconds, nanoseconds

LATE_CHUNK_S = 0.001
"""A chunk may appear so much after the end, for times are rounded."""
CLIENT_LEFT = 499


class Trace(Struct, frozen=True):
    """A recorded trace in the words of settlement."""

    setup: ReplaySetup
    events: tuple[SpanEvent, ...]
    """In the order of the file."""
    samples: tuple[EnergySample | SourceFailure, ...]
    tasks: dict[SpanId, str]
    """Class of each request, as the trace names it."""
    loads: tuple[DeviceLoad, ...] = ()
    """Reports on processes, where they were recorded: each stands with a reading."""


def read(trace: Path, samples: Path, setup: Path) -> Trace:
    """Read the three files of a trace. Raises ``TraceError``."""
    machine = read_setup(document(setup))
    events, tasks = _events(rows(trace), machine)
    readings = rows(samples)
    found = tuple(_samples(readings, machine, samples))
    loads = [_load(row) for row in readings if row.has("processes")]
    return Trace(machine, tuple(events), found, tasks, tuple(loads))


# --- samples


def _samples(lines: Sequence[Row], setup: ReplaySetup, path: Path) -> list[EnergySample | SourceFailure]:
    found, before = [], 0.0
    for row in lines:
        before = _in_order(row, before)
        found.append(_sample(row, len(setup.devices)))
    good = {one.device for one in found if isinstance(one, EnergySample)}
    named = {device for upstream in setup.upstreams.values() for device in upstream.devices}
    for device in sorted(named - good):
        raise TraceError(
            f"{path}: no good sample of gpu {int(device.removeprefix('gpu-'))}, which the setup names"
        )
    return found


def _sample(row: Row, count: int) -> EnergySample | SourceFailure:
    t, gpu = nanoseconds(row.number("t")), row.integer("gpu")
    if gpu >= count:
        row.fail(f'field "gpu": {gpu} is not below n_gpus {count}')
    counter = row.integer_or("energy_mj", None)
    power = row.integer_or("power_mw", None)
    clock = row.integer_or("sm_clock_mhz", None)
    if row.has("error"):
        if counter is not None:
            row.fail('both "error" and "energy_mj"')
        return SourceFailure(device_id(gpu), t, row.text("error"))
    if counter is None and power is None:
        row.fail('neither "energy_mj" nor "power_mw" nor "error"')
    return EnergySample(
        device=device_id(gpu),
        t=t,
        counter=None if counter is None else Microjoules(counter * 1000),
        power=None if power is None else Microwatts(power * 1000),
        sm_clock_mhz=clock,
    )


def _load(row: Row) -> DeviceLoad:
    """Return the load by processes in a row: more than the format needs, written by ``joulegate record``."""
    processes = row.part("processes")
    since, t = processes.number("since"), processes.number("t")
    if not since < t <= row.number("t"):
        processes.fail(f"{processes.label('t')}: {t} is not after since, or after the reading")
    return DeviceLoad(
        device_id(row.integer("gpu")),
        nanoseconds(since),
        nanoseconds(t),
        processes.integer("own"),
        processes.integer("foreign"),
    )


def _in_order(row: Row, before: float) -> float:
    t = row.number("t")
    if t < before:
        row.fail(f'field "t": {t} is smaller than {before} in the row before')
    return t


# --- events


class _OpenTraceRequest(Struct):
    """What was seen of a request that has not ended."""

    start: float
    seen: set[str]


def _events(lines: Sequence[Row], setup: ReplaySetup) -> tuple[list[SpanEvent], dict[SpanId, str]]:
    events: list[SpanEvent] = []
    tasks: dict[SpanId, str] = {}
    running: dict[str, _OpenTraceRequest] = {}
    before = 0.0
    for row in lines:
        before = _in_order(row, before)
        name, key = row.text("ev"), row.text("id")
        if name not in READERS:
            row.fail(f'field "ev": "{name}" is not one of {", ".join(READERS)}')
        if name == "start":
            _begin(row, key, before, setup, running, tasks)
        else:
            _check_running(row, name, key, running, tasks)
        events.extend(READERS[name](row, SpanId(key), before, running[key].start))
        if name in ENDS:
            del running[key]
    last = nanoseconds(before)
    events.extend(SpanClosed(SpanId(key), last, Outcome.CANCELLED, phase=Phase.RESPONSE) for key in running)
    return events, tasks


def _begin(
    row: Row,
    key: str,
    t: float,
    setup: ReplaySetup,
    running: dict[str, _OpenTraceRequest],
    tasks: dict[SpanId, str],
) -> None:
    if key in tasks:
        row.fail(f'second start of "{key}"')
    upstream = row.text("upstream")
    if upstream not in setup.upstreams:
        row.fail(f'field "upstream": "{upstream}" is not in the setup')
    tasks[SpanId(key)] = row.text("task")
    running[key] = _OpenTraceRequest(t, set())


def _check_running(
    row: Row, name: str, key: str, running: dict[str, _OpenTraceRequest], tasks: dict[SpanId, str]
) -> None:
    if key not in tasks:
        row.fail(f'{name} of "{key}", which has not started')
    if key not in running:
        row.fail(f'second end of "{key}"' if name in ENDS else f'{name} of "{key}", which has ended')
    if name in running[key].seen:
        row.fail(f'second {name} of "{key}"')
    running[key].seen.add(name)


def _start(row: Row, key: SpanId, t: float, _: float) -> list[SpanEvent]:
    asked = Asked(
        stream=row.flag("stream", absent=True),
        max_tokens=row.integer_or("max_tokens", None) or None,
        width=row.integer_or("width", None),
        height=row.integer_or("height", None),
        steps=row.integer_or("steps", None),
        images=row.integer_or("n", None),
    )
    row.flag("async", absent=False)
    opened = SpanOpened(
        id=key,
        t=nanoseconds(t),
        upstream=row.text("upstream"),
        protocol="trace",
        task=Task.UNKNOWN,
        asked=asked,
        body_bytes=row.integer("body_bytes"),
    )
    return [opened]


def _first_byte(_: Row, key: SpanId, t: float, __: float) -> list[SpanEvent]:
    return [SpanFirstByte(key, nanoseconds(t))]


def _accepted(_: Row, key: SpanId, t: float, __: float) -> list[SpanEvent]:
    return [SpanJob(key, nanoseconds(t), JobState.ACCEPTED)]


def _running(_: Row, key: SpanId, t: float, __: float) -> list[SpanEvent]:
    return [SpanJob(key, nanoseconds(t), JobState.RUNNING)]


def _end(row: Row, key: SpanId, t: float, start: float) -> list[SpanEvent]:
    status = row.integer("status")
    chunks = _chunks(row, key, t, start) if row.has("chunk_t") or row.has("chunk_b") else None
    closed = SpanClosed(
        id=key,
        t=nanoseconds(t),
        outcome=_outcome(row, status),
        status=status,
        streamed=chunks is not None,
        facts=_facts(row),
        timings=_timings(row),
        response_bytes=row.integer("resp_bytes"),
        client_left=_client_left(row, t, status),
    )
    return [*(chunks or []), closed]


def _chunks(row: Row, key: SpanId, end: float, start: float) -> list[SpanEvent]:
    """Return each chunk as an event at its own time."""
    times, sizes = row.numbers("chunk_t"), row.integers("chunk_b")
    name = f'end of "{key}"'
    if len(times) != len(sizes):
        row.fail(f"{name}: chunk_t has {len(times)} entries, chunk_b has {len(sizes)}")
    for place, t in enumerate(times):
        if place and t < times[place - 1]:
            row.fail(f"{name}: chunk_t decreases at entry {place}: {t} after {times[place - 1]}")
        if t < start - 1e-4:
            row.fail(f"{name}: chunk_t entry {place} at {t} is before the start at {start}")
        if t > end + LATE_CHUNK_S + 1e-9:
            row.fail(f"{name}: chunk_t entry {place} at {t} is after the end at {end}")
    return [SpanChunks(key, [nanoseconds(t)], [size]) for t, size in zip(times, sizes, strict=True)]


def _facts(row: Row) -> TaskFacts:
    """Return the counts; ``pixels`` is more than the format needs, written by ``joulegate record``."""
    pixels = row.integer_or("pixels", None)
    produced = None if pixels is None else Fact(pixels)
    if not row.has("usage"):
        return TaskFacts(pixels=produced)
    usage = row.part("usage")
    cached = usage.integer_or("cached_tokens", None)
    return TaskFacts(
        prompt_tokens=Fact(usage.integer("prompt_tokens")),
        completion_tokens=Fact(usage.integer("completion_tokens")),
        cached_prompt_tokens=None if cached is None else Fact(cached),
        pixels=produced,
    )


def _timings(row: Row) -> ServerTimings:
    """Return the durations that the server reported, where ``joulegate record`` wrote them down."""
    if not row.has("timings"):
        return ServerTimings()
    timings = row.part("timings")
    phases = ("queue", "load", "prefill", "decode")
    return ServerTimings(**{name: nanoseconds(timings.number(name)) for name in phases if timings.has(name)})


def _client_left(row: Row, t: float, status: int) -> Nanoseconds | None:
    if row.has("client_left"):
        return nanoseconds(row.number("client_left"))
    return nanoseconds(t) if status == CLIENT_LEFT else None


def _outcome(row: Row, status: int) -> Outcome:
    if row.has("outcome") and row.text("outcome") in set(Outcome):
        return Outcome(row.text("outcome"))
    if status == CLIENT_LEFT:
        return Outcome.CANCELLED
    if status >= 500:
        return Outcome.UPSTREAM_ERROR
    return Outcome.CLIENT_ERROR if status >= 400 else Outcome.OK


READERS = {
    "start": _start,
    "first_byte": _first_byte,
    "job_accepted": _accepted,
    "job_running": _running,
    "end": _end,
    "job_done": _end,
}
ENDS = {"end", "job_done"}
