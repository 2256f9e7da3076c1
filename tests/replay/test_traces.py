"""Reading recorded traces."""

import math
from typing import Any

import pytest

from joulegate.errors import TraceError
from joulegate.model import EnergySample, Outcome, SpanChunks, SpanClosed, SpanOpened
from joulegate.replay import read


def message(files: Any) -> str:
    with pytest.raises(TraceError) as caught:
        read(files.trace, files.samples, files.setup)
    return str(caught.value).removeprefix(f"{files.folder}/")


def test_a_good_trace_is_read_whole(files: Any) -> None:
    """Every request, chunk and reading arrives, in integer units."""
    trace = read(files.trace, files.samples, files.setup)

    assert len(trace.tasks) == 4
    assert sum(isinstance(event, SpanOpened) for event in trace.events) == 4
    assert sum(isinstance(event, SpanChunks) for event in trace.events) == 40 + 80 + 160
    first = trace.samples[0]
    assert isinstance(first, EnergySample)
    assert first.counter == 10_000_000


def test_unknown_fields_and_blank_lines_are_ignored(files: Any, spoil: Any) -> None:
    """A reader of today reads the traces of tomorrow."""
    spoil("trace.jsonl", 0, colour="blue")
    files.trace.write_text("\n" + files.trace.read_text() + "\n\n")

    assert len(read(files.trace, files.samples, files.setup).tasks) == 4


def test_a_request_without_an_end_runs_until_the_last_row(files: Any) -> None:
    """What never ended is closed where the recording stops."""
    lines = files.trace.read_text().splitlines()
    files.trace.write_text("\n".join(line for line in lines if '"end"' not in line or '"r0"' not in line))
    trace = read(files.trace, files.samples, files.setup)

    last = [event for event in trace.events if isinstance(event, SpanClosed)][-1]
    assert last.id == "r0"
    assert last.outcome is Outcome.CANCELLED
    assert last.t == max(event.t for event in trace.events if not isinstance(event, SpanChunks))


@pytest.mark.parametrize(
    ("file", "place", "fields", "expected"),
    [
        ("trace.jsonl", 0, {"t": "2"}, 'trace.jsonl:1: field "t": expected a number, got "2"'),
        ("trace.jsonl", 0, {"t": math.nan}, 'trace.jsonl:1: field "t": expected a finite number, got NaN'),
        (
            "trace.jsonl",
            0,
            {"t": -1},
            'trace.jsonl:1: field "t": expected a number that is not negative, got -1',
        ),
        ("trace.jsonl", 0, {"body_bytes": "absent"}, 'trace.jsonl:1: field "body_bytes": missing'),
        ("trace.jsonl", 0, {"upstream": "x"}, 'trace.jsonl:1: field "upstream": "x" is not in the setup'),
        ("trace.jsonl", 0, {"ev": "begin"}, 'trace.jsonl:1: field "ev": "begin" is not one of start'),
        ("trace.jsonl", 1, {"id": "zz"}, 'trace.jsonl:2: first_byte of "zz", which has not started'),
        ("trace.jsonl", 1, {"t": 1.0}, 'trace.jsonl:2: field "t": 1.0 is smaller than 2.0 in the row before'),
        (
            "trace.jsonl",
            2,
            {"chunk_b": [1]},
            'trace.jsonl:3: end of "r0": chunk_t has 40 entries, chunk_b has 1',
        ),
        ("trace.jsonl", 2, {"chunk_t": [2.1, 2.0], "chunk_b": [1, 1]}, "chunk_t decreases at entry 1"),
        ("trace.jsonl", 2, {"chunk_t": [1.0], "chunk_b": [1]}, "is before the start at 2.0"),
        ("trace.jsonl", 2, {"chunk_t": [9.0], "chunk_b": [1]}, "is after the end"),
        (
            "trace.jsonl",
            2,
            {"usage": {"prompt_tokens": 1.5}},
            'field "usage.prompt_tokens": expected an integer',
        ),
        ("trace.jsonl", 4, {"id": "r0"}, 'trace.jsonl:5: first_byte of "r0", which has ended'),
        ("trace.jsonl", 3, {"id": "r0"}, 'trace.jsonl:4: second start of "r0"'),
        (
            "nvml.jsonl",
            87,
            {"energy_mj": "1"},
            'nvml.jsonl:88: field "energy_mj": expected an integer, got "1"',
        ),
        ("nvml.jsonl", 5, {"gpu": 1}, 'nvml.jsonl:6: field "gpu": 1 is not below n_gpus 1'),
        ("nvml.jsonl", 5, {"error": "Lost"}, 'nvml.jsonl:6: both "error" and "energy_mj"'),
        ("nvml.jsonl", 5, {"energy_mj": "absent", "power_mw": "absent"}, 'nvml.jsonl:6: neither "energy_mj"'),
        ("nvml.jsonl", 5, {"t": 0.1}, 'nvml.jsonl:6: field "t": 0.1 is smaller'),
        (
            "public.json",
            0,
            {"upstreams": {"llm": {"kind": "images", "gpus": [0]}}},
            'public.json: upstreams.llm.kind: "images" is not one of llm, image',
        ),
        ("public.json", 0, {"n_gpus": "absent"}, "public.json: n_gpus: missing"),
        (
            "public.json",
            0,
            {"upstreams": {"llm": {"kind": "llm", "gpus": [3]}}},
            "gpu 3 is not below n_gpus 1",
        ),
    ],
)
def test_a_malformed_row_is_named_with_its_place(
    spoil: Any, file: str, place: int, fields: dict[str, Any], expected: str
) -> None:
    """File, line, field and reason, so that a person can mend it."""
    assert expected in message(spoil(file, place, **fields))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"{\n", "trace.jsonl:1: not JSON"),
        (b"[1]\n", "trace.jsonl:1: expected an object, got list"),
        (b'{"a": "\xff"}\n', "trace.jsonl:1: not UTF-8"),
        (b"[" * 100_000, "trace.jsonl:1: nested too deeply"),
    ],
)
def test_what_is_no_row_at_all_is_named(files: Any, text: bytes, expected: str) -> None:
    """Garbage is refused at its line."""
    files.trace.write_bytes(text)

    assert expected in message(files)


def test_a_missing_file_is_named(files: Any) -> None:
    """A path that does not exist is said so."""
    files.samples.unlink()

    assert "nvml.jsonl: No such file" in message(files)


def test_a_second_end_is_refused(files: Any) -> None:
    """A request ends once."""
    lines = files.trace.read_text().splitlines()
    end = next(line for line in lines if '"end"' in line)
    place = lines.index(end)
    files.trace.write_text("\n".join([*lines[: place + 1], end, *lines[place + 1 :]]))

    assert f'trace.jsonl:{place + 2}: second end of "r0"' in message(files)


def test_a_device_that_was_never_read_is_refused(files: Any) -> None:
    """Without a good sample of a device that the setup names there is nothing to settle."""
    files.samples.write_text('{"t": 1, "gpu": 0, "error": "NVMLError_GpuIsLost"}\n')

    assert "nvml.jsonl: no good sample of gpu 0" in message(files)


def test_a_card_without_a_counter_gives_power(files: Any) -> None:
    """A row with power and without energy is a reading of a card that has no counter."""
    files.samples.write_text('{"t": 1, "gpu": 0, "power_mw": 100}\n{"t": 2, "gpu": 0, "power_mw": 100}\n')
    first = read(files.trace, files.samples, files.setup).samples[0]

    assert isinstance(first, EnergySample)
    assert first.counter is None
    assert first.power == 100_000


def test_what_a_recording_knows_more_is_read(files: Any, spoil: Any) -> None:
    """A replay of a recording settles what the meter settled: with the server's timings and outcomes."""
    spoil("trace.jsonl", 2, timings={"prefill": 0.25, "decode": 1}, outcome="upstream_reset", client_left=2.2)
    trace = read(files.trace, files.samples, files.setup)
    closed = next(event for event in trace.events if isinstance(event, SpanClosed))

    assert closed.timings.prefill == 250_000_000
    assert closed.timings.queue is None
    assert closed.outcome is Outcome.UPSTREAM_RESET
    assert closed.client_left == 2_200_000_000


def test_reports_on_processes_are_read_where_there_are_any(files: Any, spoil: Any) -> None:
    """They are more than the format needs; one that cannot be is an error like any other."""
    spoil("nvml.jsonl", 9, processes={"since": 0.1, "t": 0.4, "own": 30, "foreign": 60})
    (load,) = read(files.trace, files.samples, files.setup).loads
    assert (load.since, load.t, load.own, load.foreign) == (100_000_000, 400_000_000, 30, 60)
    spoil("nvml.jsonl", 9, processes={"since": 0.4, "t": 0.4, "own": 30, "foreign": 60})
    assert (
        message(files) == 'nvml.jsonl:10: field "processes.t": 0.4 is not after since, or after the reading'
    )
