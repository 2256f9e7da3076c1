"""What an answer depends on besides the upstream."""

import pytest

from joulegate.gateway.exchange.answer_context import AnswerContext, WithheldRefusal
from joulegate.gateway.http.heads import response_head

HEAD = response_head(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 7")
WISH = AnswerContext(method="GET", http10=True, keep_alive=False, upgrade=False, finish=False, extra=b"")


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
    refusal = WithheldRefusal(HEAD)
    assert all(refusal.add(part) for part in parts)
    assert refusal.names_usage() is named


def test_a_refusal_is_kept_back_only_while_it_is_small() -> None:
    """An endless error is passed on."""
    refusal = WithheldRefusal(HEAD)
    assert refusal.add(b"x" * 65_536)
    assert not refusal.add(b"x")
    assert b"".join(refusal.parts) == b"x" * 65_537
