"""What streams of text do in the field, case by case; 15 to 25 are in ``test_vectors_transport.py``.

Each case is played to the real protocols. ``strip`` is what a client gets whose request was made to ask for
usage.
"""

import json
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import aiohttp
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from joulegate.config import UpstreamConfig
from joulegate.config.addresses import endpoint
from joulegate.gateway.gate import Gate
from joulegate.gateway.policy.settings import GateSettings
from joulegate.model import Fact, FactSource, SpanEvent, TaskFacts
from joulegate.ports import InferenceProtocol, Observer, Rewrite
from joulegate.testing.upstream import Peer, ScriptedUpstream
from joulegate.units import NANO, Nanoseconds

Load = Callable[[str], InferenceProtocol]
Play = Callable[..., Observer]
CHAT = "/v1/chat/completions"
JSON = [(b"Content-Type", b"application/json")]
STREAM, LINES = b"text/event-stream", b"application/x-ndjson"
ASKED = b'{"model":"m","stream":true}'
DONE = b"data: [DONE]\n\n"
ONE = Fact(1, FactSource.DERIVED)
TEXT = "Grüße, 世界 🌍"


def event(document: dict[str, Any]) -> bytes:
    return b"data: %b\n\n" % json.dumps(document, ensure_ascii=False).encode()


def delta(text: str, **more: Any) -> bytes:
    return event({"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": None}], **more})


def usage(prompt: int, completion: int, **more: Any) -> dict[str, Any]:
    total = prompt + completion
    return {
        "usage": {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": total},
        **more,
    }


def counted(prompt: int, completion: int) -> TaskFacts:
    return TaskFacts(prompt_tokens=Fact(prompt), completion_tokens=Fact(completion), choices=ONE)


def rewriting(plugin: Load, body: bytes) -> Rewrite | None:
    protocol = plugin("openai")
    route = protocol.matches("POST", CHAT)
    assert route
    observer = protocol.observer(route, JSON)
    observer.request_body(body)
    return observer.rewrite(body)


def strip(plugin: Load, chunks: list[bytes], body: bytes = ASKED) -> bytes:
    """Give what the client gets of an answer to a request that was made to ask for usage."""
    rewrite = rewriting(plugin, body)
    assert rewrite
    assert rewrite.strip
    return b"".join([*map(rewrite.strip.feed, chunks), rewrite.strip.finish()])


def cut(body: bytes, places: list[int]) -> list[bytes]:
    return [
        body[start:end] for start, end in pairwise(sorted({0, len(body), *(at % len(body) for at in places)}))
    ]


def heard(plugin: Load, chunks: list[bytes]) -> tuple[TaskFacts, int]:
    """Give facts and content bytes of a streamed chat."""
    protocol = plugin("openai")
    route = protocol.matches("POST", CHAT)
    assert route
    observer = protocol.observer(route, JSON)
    observer.request_body(ASKED)
    observer.response_head(200, [(b"content-type", STREAM)])
    content = sum(observer.response_body(Nanoseconds(0), chunk) for chunk in chunks)
    observer.response_end(complete=True)
    return observer.facts(), content


def spellings(documents: list[dict[str, Any]], dice: st.DataObject) -> Iterator[bytes]:
    """Write events in every way that the grammar allows."""
    if dice.draw(st.booleans()):
        yield b"\xef\xbb\xbf"
    for document in documents:
        end = dice.draw(st.sampled_from([b"\n", b"\r\n", b"\r"]))
        if dice.draw(st.booleans()):
            yield dice.draw(st.sampled_from([b":", b": keep-alive", b": ping"])) + end + end
        indent = dice.draw(st.sampled_from([None, 0, 1]))
        text = json.dumps(document, ensure_ascii=False, indent=indent).encode()
        space = dice.draw(st.sampled_from([b"", b" "]))
        yield b"".join(b"data:" + space + line + end for line in text.split(b"\n")) + end


@given(data=st.data(), places=st.lists(st.integers(0, 10_000), max_size=30))
def test_01_events_in_every_spelling_cut_anywhere(
    plugin: Load, data: st.DataObject, places: list[int]
) -> None:
    """CRLF, LF and CR, several data lines, comments, a BOM, cuts within a character change nothing."""
    choices = [{"index": 0, "delta": {"content": TEXT}}]
    documents = [{"choices": choices}, {"choices": choices}, usage(5, 2, choices=[])]
    body = b"".join(spellings(documents, data))
    facts, content = heard(plugin, cut(body, places))
    assert facts == counted(5, 2)
    assert content == 2 * len(TEXT.encode())


def test_02_a_null_usage_is_none(plugin: Load) -> None:
    """vLLM and OpenAI write it on every chunk but the last; it stays where it is."""
    early = [delta("a", usage=None), delta("b", usage=None)]
    assert heard(plugin, [*early, event(usage(5, 2, choices=[])), DONE])[0] == counted(5, 2)
    assert strip(plugin, [*early, event(usage(5, 2, choices=[])), DONE]) == b"".join([*early, DONE])


@pytest.mark.parametrize("more", [{"choices": []}, {}, {"choices": None}])
def test_03_a_chunk_with_nothing_but_usage(plugin: Load, more: dict[str, Any]) -> None:
    """With empty choices or none: it is counted, and gone for a client that did not ask for it."""
    stream = [delta("a"), event(usage(5, 1, **more)), DONE]
    assert heard(plugin, stream)[0] == counted(5, 1)
    assert strip(plugin, stream) == delta("a") + DONE


def test_04_usage_on_the_last_choice_stays(plugin: Load) -> None:
    """transformers serve puts it there unasked: the client gets it, as it would without joulegate."""
    last = event({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}], **usage(5, 1)})
    assert heard(plugin, [delta("a"), last, DONE])[0] == counted(5, 1)
    assert strip(plugin, [delta("a"), last, DONE]) == delta("a") + last + DONE


def test_05_usage_in_the_middle(plugin: Load) -> None:
    """Content that comes after the usage is content."""
    stream = [delta("a"), event(usage(5, 2, choices=[])), delta("b"), DONE]
    assert heard(plugin, stream) == (counted(5, 2), 2)
    assert strip(plugin, stream) == delta("a") + delta("b") + DONE


@given(counts=st.lists(st.integers(1, 9), min_size=1, max_size=5))
@settings(max_examples=30)
def test_06_continuous_usage_is_cumulative(plugin: Load, counts: list[int]) -> None:
    """Every chunk has the usage so far: the last one counts, none is added; such a request stays as it is."""
    totals = [sum(counts[: at + 1]) for at in range(len(counts))]
    stream = [delta("a", **usage(5, total)) for total in totals]
    assert heard(plugin, [*stream, event(usage(5, totals[-1], choices=[])), DONE])[0] == counted(
        5, totals[-1]
    )
    options = {"include_usage": True, "continuous_usage_stats": True}
    assert rewriting(plugin, json.dumps({"stream": True, "stream_options": options}).encode()) is None
    assert strip(plugin, [*stream, DONE]) == b"".join([*stream, DONE])


def test_07_a_client_that_wants_no_usage_gets_none_and_is_counted(plugin: Load) -> None:
    """``include_usage: false`` is no way around a budget."""
    body = b'{"model":"m","stream":true,"stream_options":{"include_usage":false}}'
    rewrite = rewriting(plugin, body)
    assert rewrite
    assert rewrite.body == body.replace(b"false", b"true")
    stream = [delta("a"), event(usage(5, 1, choices=[])), DONE]
    assert strip(plugin, stream, body) == delta("a") + DONE
    assert heard(plugin, stream)[0] == counted(5, 1)


@given(texts=st.lists(st.text(max_size=12), max_size=6), places=st.lists(st.integers(0, 10_000), max_size=30))
def test_08_what_was_asked_for_is_gone_to_the_byte(plugin: Load, texts: list[str], places: list[int]) -> None:
    """However the answer is cut, the client gets the bytes of a direct run."""
    direct = b"".join(delta(text) for text in texts) + DONE
    asked = direct.removesuffix(DONE) + event(usage(5, len(texts), choices=[])) + DONE
    assert strip(plugin, cut(asked, places)) == direct


class _Deaf:
    """Takes the events of a gate and keeps none."""

    def emit(self, told: SpanEvent) -> None:
        pass


async def test_09_a_server_that_refuses_is_asked_once_and_remembered(plugin: Load) -> None:
    """The client sees its answer; the second request is not made to ask at all."""
    bodies: list[bytes] = []

    async def script(peer: Peer) -> None:
        while request := await peer.request():
            bodies.append(request.body)
            if b"stream_options" in request.body:
                await peer.answer(b'{"error":"unknown field stream_options"}', status="400 Bad Request")
            else:
                await peer.answer(delta("a") + DONE, fields=[b"Content-Type: text/event-stream"])

    async with ScriptedUpstream(script) as upstream:
        settings = GateSettings(upstreams=(UpstreamConfig(name="u", endpoints=(endpoint(upstream.url),)),))
        gate = Gate(settings, {"openai": plugin("openai")}, _Deaf(), gate_id="g")
        await gate.start("127.0.0.1", 0, reuse_port=False)
        async with aiohttp.ClientSession(f"http://127.0.0.1:{gate.port}") as client:
            for _ in range(2):
                async with client.post(
                    CHAT, data=ASKED, headers={"Content-Type": "application/json"}
                ) as answer:
                    assert (answer.status, await answer.read()) == (200, delta("a") + DONE)
        await gate.drain(Nanoseconds(0))
    assert [b"stream_options" in body for body in bodies] == [True, False, False]
    assert bodies[1:] == [ASKED, ASKED]


def test_10_tool_calls_logprobs_and_several_choices(plugin: Load, exchange: Play) -> None:
    """Arguments of tools are content, log-probabilities are none, usage sums all choices; best_of is told."""
    calls = [{"index": 0, "function": {"arguments": '{"a":'}}]
    probs = {"content": [{"token": "x", "logprob": -0.1, "bytes": [120], "top_logprobs": []}]}
    stream = [
        event({"choices": [{"index": 0, "delta": {"tool_calls": calls}}]}),
        event({"choices": [{"index": 1, "delta": {"content": "x"}, "logprobs": probs}]}),
        event(usage(5, 7, choices=[])),
    ]
    facts, content = heard(plugin, stream)
    assert (facts.completion_tokens, content) == (Fact(7), len(json.dumps('{"a":')) - 2 + 1)
    body = b'{"inputs":"a","parameters":{"best_of":2,"details":true}}'
    others = [{"generated_tokens": 3}]
    details = json.dumps({"details": {"generated_tokens": 2, "best_of_sequences": others}}).encode()
    observer = exchange("/generate", body, details, protocol="tgi")
    assert observer.facts().completion_tokens == Fact(5, FactSource.DERIVED)


ERRORS = [
    ("openai", CHAT, STREAM, delta("a") + event({"error": {"message": "CUDA", "code": 500}}), 1),
    ("anthropic", "/v1/messages", STREAM, b'event: error\ndata: {"type":"error","error":{}}\n\n', 0),
    ("ollama", "/api/chat", LINES, b'{"message":{"content":"a"},"done":false}\n{"error":"CUDA"}\n', 1),
    ("sglang", "/generate", STREAM, event({"error": {"message": "CUDA"}}) + DONE, 0),
    ("tgi", "/generate_stream", STREAM, event({"error": "CUDA", "error_type": "generation"}), 0),
]


@pytest.mark.parametrize(
    ("name", "path", "media", "answer", "content"), ERRORS, ids=[one[0] for one in ERRORS]
)
def test_11_an_error_after_200_is_no_content(
    plugin: Load, name: str, path: str, media: bytes, answer: bytes, content: int
) -> None:
    """What was generated before it counts, it itself does not, and nothing is made up."""
    protocol = plugin(name)
    route = protocol.matches("POST", path)
    assert route
    observer = protocol.observer(route, JSON)
    observer.request_body(b'{"model":"m","messages":[{"content":"a"}],"stream":true}')
    observer.response_head(200, [(b"content-type", media)])
    assert observer.response_body(Nanoseconds(0), answer) == content
    observer.response_end(complete=True)
    assert observer.facts().completion_tokens is None


@pytest.mark.parametrize("end", [b"", b"\n", b"\r\n\r\n"])
def test_12_a_stream_needs_no_terminator(plugin: Load, end: bytes) -> None:
    """The end of the body ends the last event, with or without its blank line."""
    last = event(usage(5, 1, choices=[])).rstrip(b"\n") + end
    assert heard(plugin, [delta("a"), last])[0] == counted(5, 1)
    assert strip(plugin, [delta("a"), last]) == delta("a")


@given(places=st.lists(st.integers(0, 10_000), max_size=20))
def test_13_ollama_streams_lines_unless_told_not_to(plugin: Load, places: list[int]) -> None:
    """The same counts from lines, however they are cut, and from one document."""
    protocol = plugin("ollama")
    route = protocol.matches("POST", "/api/chat")
    assert route
    last = {"model": "m", "done": True, "prompt_eval_count": 5, "eval_count": 2, "eval_duration": 7 * NANO}
    lines = [
        {"model": "m", "message": {"content": TEXT}, "done": False},
        {"message": {"content": ""}, **last},
    ]
    body = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines).encode()
    whole = json.dumps({"message": {"content": TEXT}, **last}).encode()
    asked = b'{"model":"m","messages":[{"role":"user","content":"a"}]%b}'
    for request, media, answer in (
        (asked % b"", LINES, body),
        (asked % b',"stream":false', b"application/json; charset=utf-8", whole),
    ):
        observer = protocol.observer(route, JSON)
        observer.request_body(request)
        observer.response_head(200, [(b"content-type", media)])
        content = sum(observer.response_body(Nanoseconds(0), piece) for piece in cut(answer, places))
        observer.response_end(complete=True)
        assert observer.facts() == TaskFacts(prompt_tokens=Fact(5), completion_tokens=Fact(2))
        assert observer.timings().decode == 7 * NANO
        assert observer.streamed() is observer.asked().stream is (media == LINES)
        assert content == (len(TEXT.encode()) if media == LINES else len(whole))


def test_14_anthropics_events_have_names(exchange: Play) -> None:
    """Start and end are cumulative, pings are nothing, there is no ``[DONE]``."""
    start = {"type": "message_start", "message": {"usage": {"input_tokens": 5, "output_tokens": 1}}}
    text = {"type": "content_block_delta", "delta": {"type": "text_delta", "text": TEXT}}
    end = {"type": "message_delta", "usage": {"input_tokens": 5, "output_tokens": 9}}
    documents = [start, {"type": "ping"}, text, end, {"type": "message_stop"}]
    answer = b"".join(f"event: {one['type']}\n".encode() + event(one) for one in documents)
    observer = exchange("/v1/messages", b'{"stream":true}', answer, protocol="anthropic", media=STREAM)
    assert observer.facts() == TaskFacts(prompt_tokens=Fact(5), completion_tokens=Fact(9))
