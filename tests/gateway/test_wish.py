"""What an answer depends on besides the upstream."""

import pytest

from joulegate.gateway.wish import Deadline, Refusal, Wish, problem_of, reason_of
from joulegate.model import Outcome
from joulegate.units import Nanoseconds


class Message:
    """The head of an answer as the parser gives it."""

    def __init__(self, *, reason: str = "OK", headers: tuple[tuple[bytes, bytes], ...] = ()) -> None:
        self.code = 200
        self.chunked = True
        self.reason = reason
        self.raw_headers = headers


WISH = Wish(method="GET", http10=True, keep_alive=False, upgrade=False, finish=False, extra=b"")


def test_the_framing_is_told_both_sides() -> None:
    """What the client can read and what the upstream sends decide together."""
    answer = WISH.answer(Message(), b"7", changed=True)  # type: ignore[arg-type]
    assert (answer.http10, answer.length, answer.chunked, answer.changed) == (True, 7, True, True)
    assert WISH.answer(Message(), None, changed=False).length is None  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("parts", "named"), [([b"unknown: stream_", b"options"], True), ([b"bad prompt"], False)]
)
def test_a_refusal_is_read_whole(parts: list[bytes], named: bool) -> None:
    """What it refuses may stand across two parts."""
    refusal = Refusal(Message())  # type: ignore[arg-type]
    assert all(refusal.add(part) for part in parts)
    assert refusal.names_usage() is named


def test_a_refusal_is_kept_back_only_while_it_is_small() -> None:
    """An endless error is passed on."""
    refusal = Refusal(Message())  # type: ignore[arg-type]
    assert refusal.add(b"x" * 65_536)
    assert not refusal.add(b"x")
    assert b"".join(refusal.parts) == b"x" * 65_537


def test_a_deadline_is_the_last_one_that_was_armed() -> None:
    """Each wait replaces the one before and has its own name."""
    deadline = Deadline()
    assert not deadline.passed(Nanoseconds(10**18))
    deadline.arm(Nanoseconds(0), Nanoseconds(5), Outcome.UPSTREAM_TIMEOUT)
    deadline.arm(Nanoseconds(3), Nanoseconds(5), Outcome.CLIENT_TIMEOUT)
    assert (deadline.passed(Nanoseconds(7)), deadline.passed(Nanoseconds(8))) == (False, True)
    assert deadline.expiry is Outcome.CLIENT_TIMEOUT
    deadline.disarm()
    assert not deadline.passed(Nanoseconds(8))


def test_a_reason_keeps_its_bytes() -> None:
    """A phrase that is no UTF-8 goes on as it came; one with a control byte does not."""
    assert reason_of(Message(reason=b"caf\xe9".decode("utf-8", "surrogateescape"))) == b"caf\xe9"  # type: ignore[arg-type]
    assert problem_of(Message(reason="a\rb"))  # type: ignore[arg-type]
    assert problem_of(Message(headers=((b"A", b"1"),))) is None  # type: ignore[arg-type]
