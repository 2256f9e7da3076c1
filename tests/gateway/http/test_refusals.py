"""What the gate itself says."""

import json

import pytest

from joulegate.gateway.http.refusals import FAILURES, Refusal, failure, form_of, response
from joulegate.model import Outcome

UPSTREAM_FAULTS = {
    Outcome.UPSTREAM_REFUSED: 502,
    Outcome.UPSTREAM_RESET: 502,
    Outcome.UPSTREAM_TRUNCATED: 502,
    Outcome.UPSTREAM_PROTOCOL_ERROR: 502,
    Outcome.UPSTREAM_TIMEOUT: 504,
    Outcome.STREAM_IDLE_TIMEOUT: 504,
    Outcome.ORPHANED: 503,
    Outcome.CLIENT_TIMEOUT: 408,
}


@pytest.mark.parametrize(("outcome", "status"), UPSTREAM_FAULTS.items())
def test_every_failure_has_its_status(outcome: Outcome, status: int) -> None:
    """A client can tell by the status whose fault it was."""
    assert failure(outcome, "detail").status == status
    assert failure(outcome, "detail").message.endswith(": detail")


def test_the_table_names_every_outcome_that_can_precede_an_answer() -> None:
    """No way to fail is left without an answer."""
    answered = {Outcome.OK, Outcome.CLIENT_ERROR, Outcome.UPSTREAM_ERROR, Outcome.CANCELLED, Outcome.OVERRAN}
    assert set(FAILURES) == set(Outcome) - answered


@pytest.mark.parametrize(
    ("dialect", "path"),
    [
        ("openai", ("error", "message")),
        ("anthropic", ("error", "message")),
        ("ollama", ("error",)),
        ("triton", ("error",)),
        ("torchserve", ("message",)),
        ("a1111", ("detail",)),
    ],
)
def test_an_error_is_written_as_the_callers_library_reads_it(dialect: str, path: tuple[str, ...]) -> None:
    """The caller's own library shows our message."""
    head, _, body = response(Refusal(502, "c", "why"), dialect, method="POST", close=False).partition(
        b"\r\n\r\n"
    )
    document = json.loads(body)
    for key in path:
        document = document[key]
    assert document == "joulegate: why"
    assert head.startswith(b"HTTP/1.1 502 Bad Gateway\r\n")
    assert b"Content-Length: %d" % len(body) in head


def test_the_dialects_keep_their_own_words() -> None:
    """Types and codes are the ones that each library acts on."""
    openai = json.loads(
        response(Refusal(404, "c", "m"), "openai", method="GET", close=False).split(b"\r\n\r\n")[1]
    )
    assert openai["error"]["type"] == "invalid_request_error"
    assert openai["error"]["code"] == "c"
    anthropic = json.loads(
        response(Refusal(503, "c", "m"), "anthropic", method="GET", close=False).split(b"\r\n\r\n")[1]
    )
    assert (anthropic["type"], anthropic["error"]["type"]) == ("error", "overloaded_error")


def test_a_name_that_writes_no_errors_is_plain() -> None:
    """A plug-in without a form of its own, and a name of none, get a line of text."""
    assert [form_of(name) for name in ("plain", "vllm", "nobody")] == [None] * 3
    assert form_of("openai")


def test_plain_text_is_for_everyone_else() -> None:
    """A caller of unknown kind reads a line."""
    answer = response(
        Refusal(404, "c", "nothing here \udcff"), "plain", method="GET", close=True, extra=b"X: 1\r\n"
    )
    head, _, body = answer.partition(b"\r\n\r\n")
    assert body == b"joulegate: nothing here ?\n"
    assert b"X: 1\r\nConnection: close" in head


def test_head_gets_no_body() -> None:
    """An answer to HEAD ends with its head."""
    answer = response(Refusal(404, "c", "m"), "openai", method="HEAD", close=False)
    assert answer.endswith(b"\r\n\r\n")
