"""Images: how many, how large, in how many steps."""

from collections.abc import Callable

from joulegate.model import Asked, Fact, FactSource, TaskFacts
from joulegate.ports import Observer

Play = Callable[..., Observer]
PATH = "/v1/images/generations"


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
