"""Images: how many, how large, in how many steps."""

import base64
import struct
from collections.abc import Callable

import pytest

from joulegate.model import Asked, Fact, FactSource, ServerTimings, TaskFacts
from joulegate.ports import Observer

Play = Callable[..., Observer]
PATH = "/v1/images/generations"
PNG = b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sII", 13, b"IHDR", 6, 5) + bytes(100_000)


def derived(number: int) -> Fact:
    return Fact(number, FactSource.DERIVED)


def test_images_are_counted_in_the_answer(exchange: Play) -> None:
    """The answer goes before the wish."""
    body = b'{"n":4,"size":"10x20","steps":7}'
    facts = exchange(PATH, body, b'{"data":[{"b64_json":"x"},{"b64_json":"y"}]}').facts()
    assert facts == TaskFacts(images=derived(2), pixels=derived(400), steps=derived(7))


def test_the_answers_own_size_goes_first(exchange: Play) -> None:
    """A server that says what it made is believed."""
    facts = exchange(PATH, b'{"size":"10x20"}', b'{"size":"2x3","data":[{}]}').facts()
    assert facts.pixels == derived(6)


def test_an_answer_without_a_list_has_as_many_as_asked(exchange: Play) -> None:
    """If the request says how many."""
    assert exchange(PATH, b'{"n":4}', b"{}").facts().images == derived(4)
    assert exchange(PATH, b"{}", b"{}").facts().images is None


def test_defaults_are_not_guessed(exchange: Play) -> None:
    """No size, no pixels."""
    observer = exchange(PATH, b'{"size":"auto"}', b'{"data":[{}]}')
    assert observer.facts() == TaskFacts(images=derived(1))
    assert observer.asked() == Asked()


def test_failures_made_nothing(exchange: Play) -> None:
    """An error has no images."""
    assert exchange(PATH, b'{"n":4,"size":"1x1"}', b"{}", status=500).facts() == TaskFacts()


def test_an_answer_that_is_cut_off_has_no_count(exchange: Play) -> None:
    """Half an answer does not say how many there were."""
    assert exchange(PATH, b"{}", b'{"data":[{"b64_json":"x"}', complete=False).facts().images is None


def test_a_picture_is_one_image(exchange: Play) -> None:
    """Some servers answer with the file itself."""
    facts = exchange(PATH, b'{"size":"2x2"}', b"\x89PNG", media=b"image/png").facts()
    assert facts == TaskFacts(images=derived(1), pixels=derived(4))


def test_completed_events_are_images(exchange: Play) -> None:
    """Partial images are steps on the way to one; a completed one may come in a long event."""
    image = b"A" * 200_000
    answer = b"".join(
        b'data: {"type":"image_generation.' + kind + b'","b64_json":"' + b64 + b'","size":"4x4"}\n\n'
        for kind, b64 in (
            (b"partial_image", b"A"),
            (b"completed", b"A"),
            (b"partial_image", image),
            (b"completed", image),
        )
    )
    observer = exchange(PATH, b'{"stream":true}', answer, media=b"text/event-stream")
    assert observer.facts() == TaskFacts(images=derived(2), pixels=derived(32))
    assert observer.streamed()


@pytest.mark.parametrize("prefix", [b'"b64_json":"', b'"url":"data:image/png;base64,'])
def test_a_picture_says_its_own_size(exchange: Play, prefix: bytes) -> None:
    """Where the answer does not, the first picture does, before what was asked for."""
    answer = b'{"data":[{' + prefix + base64.b64encode(PNG) + b'"}]}'
    assert exchange(PATH, b'{"size":"10x20"}', answer).facts().pixels == derived(30)
    assert exchange(PATH, b"{}", answer.replace(b'data"', b'data "')).facts().pixels is None
    assert exchange(PATH, b"{}", PNG, media=b"image/png").facts().pixels == derived(30)


def test_arguments_in_the_prompt_count_more(exchange: Play) -> None:
    """stable-diffusion.cpp takes its own parameters out of the prompt."""
    hidden = (
        b'<sd_cpp_extra_args>{\\"width\\":4,\\"sample_params\\":{\\"sample_steps\\":9}}</sd_cpp_extra_args>'
    )
    observer = exchange(PATH, b'{"size":"2x2","steps":1,"prompt":"' + hidden + b'"}', b'{"data":[{}]}')
    assert observer.asked() == Asked(width=4, height=2, steps=9)
    assert observer.facts() == TaskFacts(images=derived(1), pixels=derived(8), steps=derived(9))


@pytest.mark.parametrize(
    ("answer", "prefill", "decode"),
    [
        (b'{"inference_time_s":2.5}', None, 2_500_000_000),
        (b'{"metrics":{"stage_durations":{"P.text_encoder.forward":1,"P.diffuse":2.0}}}', 10**9, 2 * 10**9),
        (b'{"stage_durations":{"P.diffuse":2},"inference_time_s":9}', None, 2 * 10**9),
        (b'{"stage_durations":{},"inference_time_s":-1}', None, None),
        (b'{"stage_durations":{"P.diffuse":"x"}}', None, None),
    ],
)
def test_durations_are_read(exchange: Play, answer: bytes, prefill: int | None, decode: int | None) -> None:
    """Reading the prompt is told apart from drawing; nonsense is nothing."""
    timings = exchange(PATH, b"{}", answer).timings()
    assert timings == ServerTimings(prefill=prefill, decode=decode)  # type: ignore[arg-type]  # plain numbers
