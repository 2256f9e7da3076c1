"""Usage is asked for and taken out again, and nothing else changes."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulegate.usage_injection import UsageFilter, ask_for_usage

CONTENT = b'data: {"choices":[{"index":0,"delta":{"content":"a"},"finish_reason":null}]}\n\n'
USAGE = b'data: {"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":1}}\n\n'
FINISH = (
    b'data: {"choices":[{"finish_reason":"stop","index":0,"delta":{}}],"system_fingerprint":"b0-unknown"}\n\n'
)
DONE = b"data: [DONE]\n\n"


@pytest.mark.parametrize(
    ("body", "wanted"),
    [
        (b'{"stream":true}', b'{"stream":true,"stream_options":{"include_usage":true}}'),
        (b' {"stream" : true } \n', b' {"stream" : true ,"stream_options":{"include_usage":true}} \n'),
        (
            b'{"stream_options":{"include_usage":false},"stream":true}',
            b'{"stream_options":{"include_usage":true},"stream":true}',
        ),
        (
            b'{"stream_options":null,"stream":true}',
            b'{"stream_options":{"include_usage":true},"stream":true}',
        ),
        (b'{"stream":true,"stream_options":{}}', b'{"stream":true,"stream_options":{"include_usage":true}}'),
        (
            b'{"stream":true,"stream_options":{ "x": 1 }}',
            b'{"stream":true,"stream_options":{"include_usage":true, "x": 1 }}',
        ),
    ],
)
def test_a_stream_is_made_to_report(body: bytes, wanted: bytes) -> None:
    """One member comes in or one value is replaced; every other byte stays."""
    rewrite = ask_for_usage(body)
    assert rewrite
    assert rewrite.body == wanted
    assert rewrite.strip


@pytest.mark.parametrize(
    "body",
    [
        b"", b"{", b"[]", b"{}", b'{"stream":false}', b'{"stream":1}', b'{"stream":"true"}', b"stream=true",
        b'{"stream":true,"stream_options":{"include_usage":true}}',
        b'{"stream":true,"stream_options":7}', b'{"stream":true,"stream_options":{"include_usage":"yes"}}',
        b'{"stream":true,"stream_options":{"continuous_usage_stats":true}}',
        b'{"stream":true,"stream":false}', b'{"stream":true,"stream_options":{},"stream_options":{}}',
        b'{"stream":true,"stream_options":{},"a":{"stream_options":{}}}',
        b'{"stream":true,"stream\\u005foptions":{}}',
        b'{"stream":true,"stream_options":{"include_usage":false,"include_usage":false}}',
        b'{"stream":true,"x":"\xff"}', b'{"stream":true} x', b'{"a":{"stream":true}}',
    ],
)  # fmt: skip
def test_other_requests_stay_as_they_are(body: bytes) -> None:
    """No stream, asked already, broken, a member twice, options that mean something else."""
    assert ask_for_usage(body) is None


@given(
    document=st.dictionaries(st.text(max_size=5), st.text(max_size=5) | st.lists(st.integers()), max_size=4),
    indent=st.none() | st.integers(0, 3),
)
def test_the_rewritten_request_says_the_same(document: dict[str, Any], indent: int | None) -> None:
    """Any streaming request has the same members afterwards, and usage asked for."""
    body = json.dumps(document | {"stream": True}, indent=indent).encode()
    rewrite = ask_for_usage(body)
    assert rewrite
    wanted = document | {"stream": True, "stream_options": {"include_usage": True}}
    assert json.loads(rewrite.body) == wanted


def test_a_long_conversation_is_asked_as_well() -> None:
    """Megabytes of messages, of tools, of what looks like options within a text."""
    text = 'say "stream_options": {"include_usage": true} ' * 20_000
    body = json.dumps({"messages": [{"role": "user", "content": text}] * 3, "stream": True}).encode()
    rewrite = ask_for_usage(body)
    assert rewrite
    assert json.loads(rewrite.body) == json.loads(body) | {"stream_options": {"include_usage": True}}


def test_only_usage_goes() -> None:
    """The events around it stay to the byte."""
    strip = UsageFilter()
    assert strip.feed(CONTENT + USAGE + DONE) + strip.finish() == CONTENT + DONE


@pytest.mark.parametrize(
    "event",
    [
        b'data: {"choices":[],"usage":null}\n\n',
        b'data: {"choices":[],"prompt_filter_results":[]}\n\n',
        b'data: {"choices":[{"delta":{}}],"usage":{"prompt_tokens":1}}\n\n',
        b'data: {"error":"usage"}\n\n',
        b': "usage"\n\n',
        b'{"error":{"message":"not a stream","usage":1}}',
        b"data: " + b"x" * 200_000 + b"\n\n",
    ],
)
def test_events_with_anything_else_stay(event: bytes) -> None:
    """Null, other news, content beside it, comments, errors, long lines: not ours to take."""
    strip = UsageFilter()
    assert strip.feed(event) + strip.finish() == event


def test_whole_events_are_never_held() -> None:
    """What cannot be usage goes on at once."""
    strip = UsageFilter()
    for chunk in (CONTENT, CONTENT * 3, b": ping\n\n", DONE):
        assert strip.feed(chunk) == chunk


def test_an_event_whose_usage_is_null_passes_as_it_came() -> None:
    """SGLang and TGI say so in every event: nothing of it is copied."""
    strip = UsageFilter()
    chunk = CONTENT.replace(b"}\n\n", b',"usage":null}\n\n')
    assert b"null" in chunk
    assert strip.feed(chunk) is chunk
    assert strip.feed(USAGE) == b""


def test_the_beginning_of_content_is_not_held() -> None:
    """As soon as an event shows a choice, its bytes go on."""
    strip = UsageFilter()
    assert strip.feed(b'data: {"id":1,"choi') == b""
    assert strip.feed(b'ces":[{"delta') == b'data: {"id":1,"choices":[{"delta'
    assert strip.feed(b'":{}}') == b'":{}}'
    assert strip.feed(b"]}\n\n") == b"]}\n\n"


def test_the_beginning_of_usage_is_held() -> None:
    """Until it is known to be usage; a stream that ends there loses nothing."""
    strip = UsageFilter()
    assert strip.feed(CONTENT + USAGE[:40]) == CONTENT
    assert strip.feed(USAGE[40:-1]) == b""
    assert strip.finish() == b""
    cut = UsageFilter()
    assert cut.feed(USAGE[:40]) + cut.finish() == USAGE[:40]


def test_llamacpp_timings_go_back_where_they_were() -> None:
    """It moves them from the last event of a choice to the usage event; the client finds them in place."""
    timings = b'{"predicted_n":1}'
    usage = USAGE.replace(b"}}\n\n", b'},"timings":' + timings + b"}\n\n")
    wanted = FINISH.replace(b"}\n\n", b',"timings":' + timings + b"}\n\n") + DONE
    strip = UsageFilter()
    assert strip.feed(FINISH) == b""
    assert strip.feed(usage) == wanted[: -len(DONE)]
    assert strip.feed(DONE) + strip.finish() == DONE


def test_timings_that_are_in_place_stay_alone() -> None:
    """With ``timings_per_token`` each event has its own: it does not wait for another."""
    finish = FINISH.replace(b"}\n\n", b',"timings":{}}\n\n')
    strip = UsageFilter()
    assert strip.feed(finish) == finish


def test_an_event_that_waits_for_timings_goes_on_without() -> None:
    """If something else follows, or nothing."""
    strip = UsageFilter()
    assert strip.feed(FINISH) == b""
    assert strip.feed(CONTENT) == FINISH + CONTENT
    assert strip.feed(FINISH) == b""
    assert strip.finish() == FINISH


def ends(fingerprint: bytes = b"") -> bytes:
    """Give the end of a choice as vLLM 0.32.0 writes it."""
    choice = b'{"index":0,"delta":{"content":"a"},"finish_reason":"stop","stop_reason":null}'
    return b'data: {"choices":[' + choice + b"]" + fingerprint + b"}\n\n"


SIGNED = b',"system_fingerprint":"vllm-0.32.0-1f515924"'
VLLM_USAGE = USAGE.replace(b"}}\n\n", b"}" + SIGNED + b',"metrics":{}}\n\n')


@pytest.mark.parametrize("choices", [1, 2, 5])
def test_vllm_s_fingerprint_goes_back_where_it_was(choices: int) -> None:
    """It stands on the end of each choice, or on the usage event instead."""
    for sizes in (1, 7, 10_000):
        strip, stream = UsageFilter(), CONTENT + ends() * choices + VLLM_USAGE + DONE
        parts = [strip.feed(stream[at : at + sizes]) for at in range(0, len(stream), sizes)]
        assert b"".join(parts) + strip.finish() == CONTENT + ends(SIGNED) * choices + DONE


def test_a_choice_that_ended_early_holds_up_no_other() -> None:
    """Its event goes on with the next one of another choice, without the fingerprint."""
    strip = UsageFilter()
    assert strip.feed(ends()) == b""
    assert strip.feed(CONTENT) == ends() + CONTENT
    assert strip.feed(ends() + VLLM_USAGE) == ends(SIGNED)


@pytest.mark.parametrize("usage", [USAGE, DONE, b""])
def test_a_server_without_a_fingerprint_gets_none(usage: bytes) -> None:
    """``--fingerprint-mode none``, an older vLLM, or a stream that ends there."""
    strip = UsageFilter()
    rest = usage if usage == DONE else b""
    assert strip.feed(ends()) == b""
    assert strip.feed(usage) + strip.finish() == ends() + rest


def test_a_fingerprint_that_is_in_place_stays_alone() -> None:
    """Such an event waits for nothing."""
    strip = UsageFilter()
    assert strip.feed(ends(SIGNED)) == ends(SIGNED)
    assert strip.feed(VLLM_USAGE) == b""


def test_what_waits_is_bounded() -> None:
    """A server that only ever ends choices gets them through."""
    strip = UsageFilter()
    sent = b"".join(strip.feed(ends()) for _ in range(1000))
    assert len(sent) >= len(ends()) * (1000 - 129)
    assert sent + strip.finish() == ends() * 1000
