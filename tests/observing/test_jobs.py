"""What all observers of answers about jobs have in common."""

import pytest

from joulegate.model import JobSign, JobState
from joulegate.observing import JobListener, KeptAnswer
from joulegate.units import Nanoseconds

NOW = Nanoseconds(0)


class Small(KeptAnswer):
    largest = 4

    def read(self, answer: bytes) -> None:
        self.signs.append(JobSign(answer.decode(), JobState.DONE))


@pytest.mark.parametrize(
    ("status", "chunks", "complete", "told"),
    [
        (200, [b"ab", b"cd"], True, ["abcd"]),
        (200, [b"ab", b"cde"], True, []),
        (200, [b"abcde", b"f"], True, []),
        (200, [b"ab"], False, []),
        (200, [], True, []),
        (404, [b"ab"], True, []),
    ],
)
def test_a_kept_answer_is_read_whole_or_not_at_all(
    status: int, chunks: list[bytes], complete: bool, told: list[str]
) -> None:
    """One that failed, broke off or is too large tells of no job; none of it is generated work."""
    listener = Small([])
    listener.response_head(status, [(b"Content-Type", b"application/json")])
    assert [listener.response_body(NOW, chunk) for chunk in chunks] == [0] * len(chunks)
    listener.response_end(complete=complete)
    assert [sign.job for sign in listener.jobs()] == told


def test_signs_are_given_once() -> None:
    """The second call gives what was learnt since the first."""
    listener = JobListener([])
    listener.signs.append(JobSign("a", JobState.DONE))
    assert len(listener.jobs()) == 1
    assert listener.jobs() == []
