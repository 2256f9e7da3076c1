"""What an answer depends on besides the upstream."""

import pytest

from joulegate.gateway.heads import response_head
from joulegate.gateway.wish import Deadline, Refusal, Wish
from joulegate.model import Outcome
from joulegate.units import Nanoseconds

HEAD = response_head(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 7")
WISH = Wish(method="GET", http10=True, keep_alive=False, upgrade=False, finish=False, extra=b"")


def test_the_framing_is_told_both_sides() -> None:
    """What the client can read and what the upstream sends decide together."""
    answer = WISH.answer(HEAD, changed=True)
    assert (answer.status, answer.http10, answer.length, answer.chunked, answer.changed) == (
        400, True, 7, False, True,
    )  # fmt: skip
    chunked = response_head(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked")
    assert (WISH.answer(chunked, changed=False).length, WISH.answer(chunked, changed=False).chunked) == (
        None, True,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("parts", "named"),
    [
        ([b"unknown: stream_", b"options"], True),
        ([b"[{'type': 'extra_forbidden', 'loc': ('body', 'stream_options'), 'msg': 'Extra"], True),
        ([b"Failed to deserialize the JSON body into the target type: unknown field `stream_options`"], True),
        ([b"extraneous key [include_usage] is not permitted"], True),
        ([b"bad prompt"], False),
        ([b""], False),
    ],
)
def test_a_refusal_is_read_whole(parts: list[bytes], named: bool) -> None:
    """What it refuses may stand across two parts."""
    refusal = Refusal(HEAD)
    assert all(refusal.add(part) for part in parts)
    assert refusal.names_usage() is named


def test_a_refusal_is_kept_back_only_while_it_is_small() -> None:
    """An endless error is passed on."""
    refusal = Refusal(HEAD)
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
