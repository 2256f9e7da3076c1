"""What all observers of JSON-speaking protocols have in common."""

import gc
from weakref import ref

import pytest

from joulegate.model import Asked, Fact, TaskFacts
from joulegate.observing import Listener
from joulegate.units import Nanoseconds

NOW = Nanoseconds(0)


def listen(media: bytes, *chunks: bytes, status: int = 200, **headers: bytes) -> tuple[Listener, int]:
    listener = Listener([])
    extra = [(name.replace("_", "-").encode(), value) for name, value in headers.items()]
    listener.response_head(status, [(b"Content-Type", media), *extra])
    content = sum(listener.response_body(NOW, chunk) for chunk in chunks)
    listener.response_end(complete=True)
    return listener, content


def test_the_wish_is_known_as_far_as_it_came() -> None:
    """``asked`` may be called at any time."""
    listener = Listener([(b"content-type", b"application/json")], model="from-path")
    assert listener.asked() == Asked(model="from-path")
    listener.request_body(b'{"stream":true,"mod')
    assert listener.asked() == Asked(model="from-path", stream=True)
    listener.request_body(b'el":"m"}')
    assert listener.asked() == Asked(model="m", stream=True)


class Bounded(Listener):
    bounds = ("most", "options.most")
    wishes = frozenset(bounds)


@pytest.mark.parametrize(
    ("body", "bound"),
    [
        (b'{"options":{"most":2},"most":1}', 1),
        (b'{"options":{"most":2},"most":null}', 2),
        (b'{"options":{"most":2},"most":-1}', 2),
        (b'{"most":"many"}', None),
        (b"{}", None),
    ],
)
def test_the_first_bound_that_is_a_number_counts(body: bytes, bound: int | None) -> None:
    """Whichever stands first in the request."""
    listener = Bounded([])
    listener.request_body(body)
    assert listener.asked() == Asked(max_tokens=bound)


def test_encoded_requests_are_not_read() -> None:
    """A compressed body is no JSON, whatever it looks like."""
    listener = Listener([(b"Content-Encoding", b"zstd")])
    listener.request_body(b'{"model":"m"}')
    assert listener.asked() == Asked()


@pytest.mark.parametrize("status", [301, 400, 404, 500, 503])
def test_failures_are_no_content(status: int) -> None:
    """The body of a failure stands for no work."""
    listener, content = listen(b"application/json", b'{"usage":{"prompt_tokens":1}}', status=status)
    assert (content, listener.facts()) == (0, TaskFacts())


def test_whole_answers_are_content_and_give_facts() -> None:
    """Model and usage are read out of a whole answer of any content type that is JSON."""
    for media in (b"application/json", b"Application/JSON; charset=utf-8", b"application/vnd.x+json"):
        listener, content = listen(media, b'{"model":"m","usa', b'ge":{"prompt_tokens":1}}')
        assert (content, listener.model(), listener.streamed()) == (41, "m", False)
        assert listener.facts() == TaskFacts(prompt_tokens=Fact(1))


@pytest.mark.parametrize(
    ("media", "body"),
    [
        (
            b"text/event-stream",
            b': hi\n\ndata: ab\n\ndata: {"usage":{"prompt_tokens":1}}\n\ndata: [DONE]\n\n',
        ),
        (b"application/x-ndjson; charset=utf-8", b'ab\n\n{"usage":{"prompt_tokens":1}}\n'),
    ],
)
def test_streams_are_counted_by_event(media: bytes, body: bytes) -> None:
    """Comments and terminators are no content; usage is read."""
    listener, content = listen(media, body)
    assert (content, listener.streamed()) == (2 + 29, True)
    assert listener.facts() == TaskFacts(prompt_tokens=Fact(1))


def test_the_last_event_counts_without_its_blank_line() -> None:
    """Usage in an event that the end of the answer ends."""
    listener, _ = listen(b"text/event-stream", b'data: {"usage":{"prompt_tokens":1}}')
    assert listener.facts() == TaskFacts(prompt_tokens=Fact(1))


def test_other_answers_are_counted_in_bytes() -> None:
    """Sound, pictures and compressed answers are not looked into."""
    assert listen(b"image/png", b"12345")[1] == 5
    assert listen(b"", b"12345")[1] == 5
    listener, content = listen(b"text/event-stream", b"data: x\n\n", content_encoding=b"gzip")
    assert (content, listener.streamed()) == (9, False)


def test_an_event_of_many_megabytes_is_scanned() -> None:
    """Usage behind an image in one event is found, and the next event is counted."""
    image = b'data: {"b64_json":"' + b"A" * 300_000 + b'","usage":{"prompt_tokens":3}}\n\n'
    listener, content = listen(b"text/event-stream", image[:70_000], image[70_000:], b"data: ab\n\n")
    assert content == len(image) + 2
    assert listener.facts() == TaskFacts(prompt_tokens=Fact(3))


def test_an_answer_that_is_cut_off_gives_what_it_told() -> None:
    """Usage that came before the cut counts."""
    listener = Listener([])
    listener.response_head(200, [(b"content-type", b"application/json")])
    listener.response_body(NOW, b'{"usage":{"prompt_tokens":3},"choices":[{"te')
    listener.response_end(complete=False)
    assert listener.facts() == TaskFacts(prompt_tokens=Fact(3))


def test_requests_stay_as_they_are() -> None:
    """A protocol that does not say otherwise rewrites nothing."""
    assert Listener([]).rewrite(b'{"stream":true}') is None


@pytest.mark.parametrize("media", [b"application/json", b"text/event-stream", b"image/png"])
def test_a_finished_listener_needs_no_garbage_collector(media: bytes) -> None:
    """It is gone with its last reference: the gate's collector runs seldom."""
    gc.disable()
    try:
        listener, _ = listen(media, b"{}")
        gone = ref(listener)
        del listener
        assert gone() is None
    finally:
        gc.enable()


@pytest.mark.parametrize("media", [b"", b"text/plain", b"application/octet-stream", b"application/json"])
@pytest.mark.parametrize("size", [1, 3, 1000])
def test_a_stream_is_known_by_its_first_bytes(media: bytes, size: int) -> None:
    """Where the field does not say it, what a stream begins with does, whatever the pieces it comes in."""
    body = b'data: {"model":"m"}\n\ndata: {"usage":{"prompt_tokens":3}}\n\ndata: [DONE]\n\n'
    for mark in (b"", b"\xef\xbb\xbf", b": hello\n\n", b"event: x\n"):
        whole = mark + body
        chunks = [whole[at : at + size] for at in range(0, len(whole), size)]
        listener, _ = listen(media, *chunks)
        assert listener.streamed()
        assert listener.facts() == TaskFacts(prompt_tokens=Fact(3))


@pytest.mark.parametrize("body", [b'{"model":"m"}', b"d", b"database", b""])
def test_what_is_no_stream_stays_a_document(body: bytes) -> None:
    """An answer that begins like anything else is read whole, to its last byte."""
    listener, _ = listen(b"application/json", *[body[at : at + 1] for at in range(len(body))])
    assert not listener.streamed()
    assert listener.model() == ("m" if body.startswith(b"{") else None)
