"""Every event of a request arrives in its rows as the format has it."""

from typing import Any

import pytest

from joulegate.meter.recording.request_rows import RequestRow, is_image
from joulegate.model import (
    Asked,
    Fact,
    JobState,
    Outcome,
    ServerTimings,
    SpanChunks,
    SpanId,
    SpanJob,
    TaskFacts,
)
from joulegate.replay.rows import (
    End,
    FirstByte,
    JobAccepted,
    JobDone,
    JobRunning,
    Start,
    TimingsRow,
    UsageRow,
)
from joulegate.units import Nanoseconds

ID = SpanId("a")
TOKENS = TaskFacts(prompt_tokens=Fact(30), completion_tokens=Fact(5), cached_prompt_tokens=Fact(20))


@pytest.fixture
def begun(words: Any) -> Any:
    """Begins a request of a recording that began at 1 s."""

    def begin(t: float = 1.5, *, is_answered: bool = False, **opened: Any) -> RequestRow:
        return RequestRow(words.opened("a", t, **opened), words.at(1), is_answered=is_answered)

    return begin


def chunks(words: Any, *times: float) -> SpanChunks:
    return SpanChunks(ID, [words.at(t) for t in times], [3] * len(times))


def ended(request: RequestRow, words: Any, t: float = 4, **closed: Any) -> End:
    end = request.rows(words.closed("a", t, **closed))[-1]
    assert isinstance(end, End)
    return end


def test_a_stream_has_its_chunks_in_its_end(begun: Any, words: Any) -> None:
    """Each at its own time, once, however often it is told; their bytes add up."""
    request = begun(asked=Asked(stream=True, max_tokens=64), body_bytes=400)
    request.take(words.first_byte("a", 2), words.at(9))
    for event in (chunks(words, 2, 2.00006), chunks(words, 2, 2.00006), chunks(words, 3)):
        request.take(event, words.at(9))
    assert request.held == 3
    facts = TaskFacts(prompt_tokens=Fact(30), completion_tokens=Fact(5), cached_prompt_tokens=Fact(20))
    timings = ServerTimings(queue=Nanoseconds(1_500_000), decode=Nanoseconds(2_000_000))
    found = request.rows(words.closed("a", 3, streamed=True, facts=facts, timings=timings, response_bytes=1))
    assert found == [
        Start(0.5, "a", "llm", "chat", 400, stream=True, max_tokens=64),
        FirstByte(1.0, "a"),
        End(
            2.0, "a", 200, UsageRow(30, 5, 20), 9, [1.0, 1.0001, 2.0], [3, 3, 3],
            timings=TimingsRow(queue=0.0015, decode=0.002),
        ),
    ]  # fmt: skip


def test_a_whole_answer_has_no_chunks(begun: Any, words: Any) -> None:
    """They are absent, not empty."""
    end = ended(begun(), words, response_bytes=70, facts=TOKENS)
    assert (end.chunk_t, end.chunk_b, end.resp_bytes, end.usage) == (None, None, 70, UsageRow(30, 5, 20))


def test_a_client_that_leaves_is_a_499(begun: Any, words: Any) -> None:
    """Without chunks nothing of the answer counts; a stream has empty lists."""
    whole = ended(begun(), words, outcome=Outcome.CANCELLED, status=None, response_bytes=9, facts=TaskFacts())
    assert (whole.status, whole.resp_bytes, whole.usage, whole.chunk_t) == (499, 0, None, None)
    stream = ended(begun(), words, outcome=Outcome.CANCELLED, status=200, streamed=True, facts=TaskFacts())
    assert (stream.status, stream.chunk_t, stream.chunk_b) == (499, [], [])


def test_a_server_that_works_on_after_the_client_left_ends_later(begun: Any, words: Any) -> None:
    """The end is that of the work; when the client left stands beside it."""
    end = ended(begun(), words, 4, outcome=Outcome.CANCELLED, client_left=words.at(2))
    assert (end.t, end.client_left, end.outcome) == (3.0, 1.0, "cancelled")
    assert ended(begun(), words, 4, outcome=Outcome.CANCELLED, client_left=words.at(4)).client_left is None


@pytest.mark.parametrize(
    ("outcome", "status", "expected"),
    [
        (Outcome.OK, None, 200),
        (Outcome.OK, 201, 201),
        (Outcome.CLIENT_ERROR, 422, 422),
        (Outcome.CLIENT_ERROR, None, 400),
        (Outcome.UPSTREAM_ERROR, 503, 503),
        (Outcome.UPSTREAM_TRUNCATED, 200, 502),
        (Outcome.UPSTREAM_TIMEOUT, None, 502),
        (Outcome.CLIENT_TIMEOUT, 408, 499),
        (Outcome.ORPHANED, None, 499),
    ],
)
def test_an_answer_that_broke_off_is_no_success(
    begun: Any, words: Any, outcome: Outcome, status: int | None, expected: int
) -> None:
    """The status says how the request ended, not what its head had promised."""
    end = ended(begun(), words, outcome=outcome, status=status)
    assert (end.status, end.outcome) == (expected, outcome.value)


@pytest.mark.parametrize(
    "facts",
    [
        TaskFacts(),
        TaskFacts(prompt_tokens=Fact(3)),
        TaskFacts(prompt_tokens=Fact(-1), completion_tokens=Fact(3)),
        TaskFacts(prompt_tokens=Fact(3), completion_tokens=Fact(10**18)),
    ],
)
def test_usage_that_is_not_whole_or_cannot_be_is_none(begun: Any, words: Any, facts: TaskFacts) -> None:
    """An unknown is never a zero."""
    assert ended(begun(), words, facts=facts).usage is None


def test_a_job_has_its_own_rows(begun: Any, words: Any) -> None:
    """Accepted, running, done; the answer that accepted it is no first byte."""
    request = begun(asked=Asked(width=64, height=32, images=2), upstream="img")
    request.take(words.first_byte("a", 2), words.at(9))
    for t, state in ((2.5, JobState.ACCEPTED), (3, JobState.RUNNING), (3.2, JobState.RUNNING)):
        request.take(SpanJob(ID, words.at(t), state), words.at(9))
    found = request.rows(words.closed("a", 4, facts=TaskFacts(steps=Fact(8), pixels=Fact(4096))))
    assert found == [
        Start(0.5, "a", "img", "chat", 0, stream=False, width=64, height=32, steps=8, n=2, is_job=True),
        JobAccepted(1.5, "a"),
        JobRunning(2.0, "a"),
        JobDone(3.0, "a", 200, None, 0, pixels=4096),
    ]


def test_a_request_from_before_is_clipped(begun: Any, words: Any) -> None:
    """It starts with the recording; if its answer had begun, its prompt and counts are of a time before."""
    waiting = begun(0.2, body_bytes=50)
    start = waiting.rows(None)[0]
    assert (start.t, start.clipped, start.body_bytes) == (0.0, True, 50)
    assert ended(waiting, words, facts=TOKENS).usage == UsageRow(30, 5, 20)
    answered = begun(0.2, body_bytes=50, is_answered=True)
    answered.take(chunks(words, 0.5, 0.9, 1.25), words.at(9))
    start, first, end = answered.rows(words.closed("a", 2, streamed=True, facts=TOKENS, response_bytes=9))
    assert (start.t, start.clipped, start.body_bytes, first.t) == (0.0, True, 0, 0.0)
    assert (end.usage, end.chunk_t, end.resp_bytes) == (None, [0.25], 3)


def test_what_happens_after_the_recording_did_not_happen(begun: Any, words: Any) -> None:
    """Nothing is in the trace that its time does not cover."""
    request = begun()
    request.take(words.first_byte("a", 5.5), words.at(5))
    request.take(chunks(words, 4, 5, 6), words.at(5))
    request.take(SpanJob(ID, words.at(6), JobState.RUNNING), words.at(5))
    (start,) = request.rows(None)
    assert isinstance(start, Start)
    assert request.held == 2


def test_times_of_a_request_never_go_back(begun: Any, words: Any) -> None:
    """Clocks of threads may differ by a little; rows may not."""
    request = begun(2)
    request.take(words.first_byte("a", 1.9), words.at(9))
    request.take(chunks(words, 1.95, 3), words.at(9))
    found = request.rows(words.closed("a", 2.5, streamed=True))
    assert [row.t for row in found] == [1.0, 1.0, 2.0]
    assert found[-1].chunk_t == [1.0, 2.0]


@pytest.mark.parametrize("number", [None, 0, -1, 10**18])
def test_a_limit_that_says_nothing_is_absent(begun: Any, number: int | None) -> None:
    """Some servers take -1 for no limit."""
    assert begun(asked=Asked(max_tokens=number)).rows(None)[0].max_tokens is None


def test_image_work_is_known_by_its_facts() -> None:
    """What was asked for or what was drawn says so."""
    assert is_image(Asked(width=64), TaskFacts())
    assert is_image(Asked(), TaskFacts(images=Fact(1)))
    assert not is_image(Asked(model="m"), TOKENS)
