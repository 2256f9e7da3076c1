"""The call that ends a request where closing does not."""

import pytest

from joulegate.gateway.http.call import ServerAnswer
from joulegate.gateway.servers.stop_calls import AbandonedRequest, StopCall, runs, stop

CHAT = AbandonedRequest("/v1/chat/completions", {b"x-conversation-id": b"a b/c&d"})
IMAGE = AbandonedRequest("/sdapi/v1/txt2img", {})


def test_a_chat_that_may_be_taken_up_again_is_deleted() -> None:
    """llama.cpp generates on for a conversation until it is deleted; others stop by themselves."""
    assert stop("llamacpp", CHAT) == StopCall("DELETE", "/v1/stream?conv_id=a%20b%2Fc%26d")
    assert stop("vllm", CHAT) is None
    assert stop("llamacpp", AbandonedRequest("/v1/chat/completions", {})) is None


def test_only_generation_is_interrupted() -> None:
    """Of AUTOMATIC1111's routes only those that draw are stopped, and only after a look at what runs."""
    found = stop("a1111", IMAGE)
    assert found
    assert (found.method, found.path) == ("POST", "/sdapi/v1/interrupt")
    assert found.before
    assert stop("a1111", AbandonedRequest("/sdapi/v1/options", {})) is None


@pytest.mark.parametrize(
    ("status", "body", "mine"),
    [
        (200, b'{"state":{"job_count":1,"job":"scripts_txt2img"}}', True),
        (200, b'{"state":{"job_count":1,"job":"scripts_img2img"}}', False),
        (200, b'{"state":{"job_count":1,"job":"task(abc)"}}', False),
        (200, b'{"state":{"job_count":0,"job":"scripts_txt2img"}}', False),
        (200, b"nonsense", False),
        (401, b'{"state":{"job_count":1,"job":"scripts_txt2img"}}', False),
    ],
)
def test_nobody_elses_picture_is_stopped(status: int, body: bytes, mine: bool) -> None:
    """What a person draws in the browser runs under another name and is left alone."""
    assert runs(IMAGE, ServerAnswer(status, {}, body)) is mine
