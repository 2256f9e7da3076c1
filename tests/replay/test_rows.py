"""Rows are written with the names that the reader knows."""

from pathlib import Path
from typing import Any

import msgspec

from joulegate.model import EnergySample, Fact, JobState, SourceFailure, SpanClosed, SpanJob, SpanOpened
from joulegate.replay import read, rows

TRACE = [
    rows.Start(0.1, "r1", "llm", "chat", 40, stream=True, max_tokens=9),
    rows.FirstByte(0.2, "r1"),
    rows.End(0.3, "r1", 200, rows.UsageRow(7, 2, 3), 5, [0.2, 0.25], [2, 3],
             timings=rows.TimingsRow(prefill=0.1)),
    rows.Start(0.4, "r2", "img", "image-generation", 9, stream=False, width=8, height=6, steps=4, n=2,
               is_job=True),
    rows.JobAccepted(0.5, "r2"),
    rows.JobRunning(0.6, "r2"),
    rows.JobDone(0.7, "r2", 200, None, 77),
]  # fmt: skip
SAMPLES = [
    rows.SampleRow(0.05, 0, 12, 75_000, 900),
    rows.SampleRow(0.15, 1, error="lost"),
    rows.SampleRow(0.2, 1, 7),
]
SETUP = rows.MachineRow(
    upstreams={"llm": rows.UpstreamRow("llm", (0,)), "img": rows.UpstreamRow("image", (0, 1), 3)},
    n_gpus=2,
    idle_w=150.0,
    devices=(rows.TraceOrigin(0, "H200", "gpu", "nvml", "counter"),),
)


def write(folder: Path, name: str, found: list[Any]) -> Path:
    path = folder / name
    path.write_bytes(b"".join(msgspec.json.encode(row) + b"\n" for row in found))
    return path


def test_the_reader_reads_what_is_written(tmp_path: Path) -> None:
    """Every field of every row comes back as what it was."""
    trace = read(
        write(tmp_path, "trace.jsonl", TRACE),
        write(tmp_path, "nvml.jsonl", SAMPLES),
        write(tmp_path, "public.json", [SETUP]),
    )
    opened = {event.id: event for event in trace.events if isinstance(event, SpanOpened)}
    closed = {event.id: event for event in trace.events if isinstance(event, SpanClosed)}
    assert trace.tasks == {"r1": "chat", "r2": "image-generation"}
    assert (opened["r1"].asked.stream, opened["r1"].asked.max_tokens, opened["r1"].body_bytes) == (
        True,
        9,
        40,
    )
    asked = opened["r2"].asked
    assert (asked.width, asked.height, asked.steps, asked.images, asked.stream) == (8, 6, 4, 2, False)
    facts = closed["r1"].facts
    assert (facts.prompt_tokens, facts.completion_tokens, facts.cached_prompt_tokens) == (
        Fact(7), Fact(2), Fact(3),
    )  # fmt: skip
    assert (closed["r1"].response_bytes, closed["r1"].streamed, closed["r2"].streamed) == (5, True, False)
    assert [event.state for event in trace.events if isinstance(event, SpanJob)] == [
        JobState.ACCEPTED,
        JobState.RUNNING,
    ]
    assert [type(sample) for sample in trace.samples] == [EnergySample, SourceFailure, EnergySample]
    assert trace.setup.upstreams["img"].concurrency == 3
    assert len(trace.setup.upstreams["img"].devices) == len(trace.setup.idle_power) == 2


def test_the_field_async_stands_on_jobs_only() -> None:
    """What is absent means an ordinary request."""
    assert [b'"async":true' in msgspec.json.encode(row) for row in TRACE if isinstance(row, rows.Start)] == [
        False,
        True,
    ]


def test_an_end_says_that_it_has_no_usage() -> None:
    """The format wants a null there."""
    assert b'"usage":null' in msgspec.json.encode(rows.End(1.0, "r", 499, None, 0))


def test_times_have_the_resolution_of_the_format() -> None:
    """10 us in the trace, 100 us in samples and chunks."""
    assert rows.trace_time(1_234_567_890) == 1.23457
    assert rows.sample_time(1_234_567_890) == 1.2346
