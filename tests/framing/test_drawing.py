"""How much a diffusion request draws."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulegate.framing.drawing import Drawing, Pass, hidden_in, second_pass
from joulegate.model import Fact, FactSource, TaskFacts

DERIVED, ESTIMATED = FactSource.DERIVED, FactSource.ESTIMATED
ONE = Fact(1, DERIVED)


@pytest.mark.parametrize(
    ("second", "size"),
    [
        (Pass(), (1024, 512)),
        (Pass(scale=1.5), (768, 384)),
        (Pass(width=640, height=640), (640, 640)),
        (Pass(width=1024), (1024, 512)),
        (Pass(height=512), (1024, 512)),
    ],
)
def test_a_second_pass_has_its_size_from_what_is_given(second: Pass, size: tuple[int, int]) -> None:
    """Both sides, one of them, or the scale; from 512x256."""
    assert second.size(512, 256) == size


def test_one_pass_is_counted_as_it_is() -> None:
    """Pixels are the sum over the images; steps are those of each."""
    drawing = Drawing(width=64, height=32, steps=20, images=2)
    two = Fact(2)
    expected = TaskFacts(images=two, pixels=Fact(4096, DERIVED), steps=Fact(20, DERIVED))
    assert drawing.facts(two) == expected


def test_two_passes_are_worth_their_areas() -> None:
    """20 steps at a quarter of the final area and 10 at the whole are worth 15 at the whole."""
    drawing = Drawing(width=512, height=512, steps=20, second=Pass(steps=10))
    assert drawing.facts(ONE) == TaskFacts(images=ONE, pixels=Fact(2**20, DERIVED), steps=Fact(15, ESTIMATED))
    assert Drawing(width=512, height=512, steps=20, second=Pass()).facts(ONE).steps == Fact(25, ESTIMATED)


@pytest.mark.parametrize(
    ("drawing", "final", "expected"),
    [
        (Drawing(), None, TaskFacts(images=ONE)),
        (Drawing(), (8, 4), TaskFacts(images=ONE, pixels=Fact(32, DERIVED))),
        (Drawing(width=8), None, TaskFacts(images=ONE)),
        (Drawing(steps=3), None, TaskFacts(images=ONE, steps=Fact(3, DERIVED))),
        (Drawing(steps=3, second=Pass()), (8, 4), TaskFacts(images=ONE, pixels=Fact(32, DERIVED))),
        (Drawing(2, 2, second=Pass()), (8, 4), TaskFacts(images=ONE, pixels=Fact(32, DERIVED))),
    ],
)
def test_what_is_not_known_stays_unknown(
    drawing: Drawing, final: tuple[int, int] | None, expected: TaskFacts
) -> None:
    """The answer's own size counts; a second pass of unknown size has no steps."""
    assert drawing.facts(ONE, final) == expected
    assert drawing.facts(None, final) == TaskFacts()


def hidden(arguments: object) -> Drawing:
    tag = "sd_cpp_extra_args"
    return hidden_in(json.dumps(f"a <{tag}>{json.dumps(arguments)}</{tag}> cat").encode())


def test_arguments_hidden_in_a_prompt_are_found() -> None:
    """They count more than the request's own."""
    arguments = {
        "width": 256, "height": 128, "batch_count": 3, "sample_params": {"sample_steps": 8},
        "hires": {"enabled": True, "scale": 1.5, "target_width": 0, "steps": 4},
    }  # fmt: skip
    expected = Drawing(256, 128, 8, 3, Pass(scale=1.5, steps=4))
    assert hidden(arguments) == expected
    assert expected.over(Drawing(512, 512, 20, 1)) == expected
    assert hidden({"width": 1}).over(Drawing(512, 512)) == Drawing(1, 512)


@pytest.mark.parametrize("arguments", [None, [], {"width": -1}, {"hires": {"enabled": False}}, {"hires": 1}])
def test_nonsense_in_a_prompt_is_nothing(arguments: object) -> None:
    """Whatever stands between the marks."""
    assert hidden(arguments) == Drawing()


@given(prompt=st.binary(max_size=80), scale=st.floats() | st.text(max_size=2), side=st.integers())
def test_garbage_raises_nothing(prompt: bytes, scale: object, side: int) -> None:
    """No prompt and no number breaks the reading."""
    hidden_in(b'"<sd_cpp_extra_args>' + prompt + b'</sd_cpp_extra_args>"')
    assert second_pass(scale, side, None, None).size(4, 4)[0] >= 0
