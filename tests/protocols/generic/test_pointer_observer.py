"""A route of which the configuration says where its values stand."""

import struct
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulegate.model import Asked, Fact, FactSource, TaskFacts
from joulegate.ports import InferenceProtocol, Observer, Places, Route
from joulegate.protocols.generic import Plugin
from joulegate.units import Nanoseconds

JSON = b"application/json"
STREAM = b"text/event-stream"
Load = Callable[[str], InferenceProtocol]


def derived(number: int) -> Fact:
    return Fact(number, FactSource.DERIVED)


def listen(
    request: dict[str, tuple[str, ...]],
    answer: dict[str, tuple[str, ...]],
    bodies: tuple[bytes, bytes],
    *,
    media: bytes = JSON,
    kind: bytes = JSON,
    cut: int = 1 << 20,
) -> Observer:
    route = Route("rule", places=Places(request=request, answer=answer))
    observer = Plugin().observer(route, [(b"Content-Type", kind)])
    for at in range(0, len(bodies[0]), cut):
        observer.request_body(bodies[0][at : at + cut])
    observer.response_head(200, [(b"Content-Type", media)])
    for at in range(0, len(bodies[1]), cut):
        observer.response_body(Nanoseconds(0), bodies[1][at : at + cut])
    observer.response_end(complete=True)
    return observer


@given(cut=st.integers(1, 90))
def test_values_are_found_where_the_rule_says(cut: int) -> None:
    """Numbers, arrays, texts, seconds; however the bodies are cut."""
    request = {"model": ("net", "name"), "characters": ("text",), "audio_in": ("length",), "steps": ("s",)}
    answer = {"completion_tokens": ("out", "n"), "choices": ("out", "list"), "prompt_tokens": ("0",)}
    observer = listen(
        request,
        answer,
        (
            b'{"net":{"name":"m"},"text":"gr\\u00fc\xc3\x9fe","length":1.5,"s":4,"stream":false}',
            b'{"out":{"n":12,"list":["a",{"b":[1,2]}]},"0":3,"usage":{"prompt_tokens":1,"completion_tokens":1}}',
        ),
        cut=cut,
    )
    assert observer.asked() == Asked(model="m", stream=False, steps=4)
    assert observer.facts() == TaskFacts(
        prompt_tokens=Fact(3), completion_tokens=Fact(12), choices=derived(2), characters=derived(5),
        audio_in=derived(1_500_000_000),
    )  # fmt: skip


def test_the_answer_counts_more_than_the_request() -> None:
    """Of both, the answer's number, and the server's own is a reported one."""
    places = {"images": ("n",), "width": ("w",), "height": ("h",), "steps": ("s",)}
    observer = listen(places, places, (b'{"n":4,"w":8,"h":8,"s":9}', b'{"n":2,"w":16}'))
    assert observer.facts() == TaskFacts(images=Fact(2), pixels=derived(256), steps=derived(9))
    observer = listen(places, places, (b'{"n":4,"w":8,"h":8,"s":9}', b"{}"))
    assert observer.facts() == TaskFacts(images=derived(4), pixels=derived(256), steps=derived(9))


@pytest.mark.parametrize("number", [b"-1", b'"x"', b"true", b"null", b"1e30", b"{}"])
def test_what_is_no_count_is_unknown(number: bytes) -> None:
    """Never a zero."""
    facts = listen(
        {}, {"completion_tokens": ("n",), "frames": ("n",)}, (b"", b'{"n":' + number + b"}")
    ).facts()
    assert facts == TaskFacts()


def test_the_whole_body_may_be_the_list() -> None:
    """The empty pointer; and one place may be two things."""
    observer = listen({}, {"choices": (), "images": ()}, (b"", b'[{"a":[1]},2,"x"]'))
    assert observer.facts() == TaskFacts(choices=derived(3), images=derived(3))


def test_streams_are_counted_by_what_comes_last() -> None:
    """Also when it comes in an event of any length; events without it are not looked into."""
    long = b'data: {"text":"' + b"x" * 100_000 + b'","n":{"out":3}}\n\n'
    answer = b'data: {"n":{"out":1}}\n\ndata: {"text":"a"}\n\n' + long + b"data: [DONE]\n\n"
    observer = listen({}, {"completion_tokens": ("n", "out")}, (b"", answer), media=STREAM)
    assert observer.facts() == TaskFacts(completion_tokens=Fact(3))
    assert observer.streamed()


def test_a_form_has_fields_of_the_same_names() -> None:
    """A pointer with one part is a field; a deeper one is none."""
    fields = ((b"net", b"m"), (b"size", b"8x4"), (b"n", b"3"))
    form = b"".join(b'--b\r\nContent-Disposition: form-data; name="%b"\r\n\r\n%b\r\n' % one for one in fields)
    request = {"model": ("net",), "size": ("size",), "images": ("n",), "steps": ("a", "n")}
    observer = listen(request, {}, (form + b"--b--", b"{}"), kind=b"multipart/form-data; boundary=b")
    assert observer.asked() == Asked(model="m", width=8, height=4, images=3)


def test_a_picture_is_one_image_of_its_own_size() -> None:
    """Whatever size was asked for."""
    png = b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sII", 13, b"IHDR", 6, 5)
    observer = listen({"size": ("size",)}, {}, (b'{"size":"9x9"}', png), media=b"image/png")
    assert observer.facts() == TaskFacts(images=derived(1), pixels=derived(30))


def test_a_failure_did_nothing() -> None:
    """What was asked for is no work."""
    observer = Plugin().observer(
        Route("rule", places=Places({"images": ("n",)}, {})), [(b"Content-Type", JSON)]
    )
    observer.request_body(b'{"n":4}')
    observer.response_head(500, [])
    observer.response_end(complete=True)
    assert observer.facts() == TaskFacts()


@given(body=st.binary(max_size=60), answer=st.binary(max_size=60))
def test_garbage_raises_nothing(body: bytes, answer: bytes) -> None:
    """In either body, whole or as a stream."""
    places = {"images": ("a",), "characters": (), "audio_out": ("b", "0")}
    for media in (JSON, STREAM):
        observer = listen(places, places, (body, answer), media=media)
        assert observer.facts()
        assert observer.asked()
