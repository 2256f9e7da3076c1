"""The models compute what they should: a prompt in pieces is the prompt in one piece."""

from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import Any

import numpy as np
import pytest

needs_torch = pytest.mark.skipif(
    find_spec("torch") is None, reason="torch is not installed: pip install torch"
)
BACKENDS = ["numpy", pytest.param("torch", marks=needs_torch)]


@pytest.fixture
def make(gpu: ModuleType) -> Any:
    """Gives a backend on the CPU."""
    return import_module("backend").make


@pytest.mark.parametrize("kind", BACKENDS)
def test_a_prompt_in_pieces_beside_others_is_the_prompt(gpu: ModuleType, make: Any, kind: str) -> None:
    """Cache, mask and places are right: the last token's state does not depend on how the steps were cut."""
    part = import_module("backend").Part
    llm = make("cpu", kind).llm(gpu.shapes.SMALL.llm)
    whole = np.asarray(llm.run([part(256, 0, 40)]))[-1]
    llm.run([part(256, 0, 17), part(512, 0, 5)])
    llm.run([part(512, 5, 1), part(256, 17, 22)])
    pieces = np.asarray(llm.run([part(512, 6, 1), part(256, 39, 1)]))[-1]
    assert pieces == pytest.approx(whole, rel=1e-3, abs=1e-4)


@pytest.mark.parametrize("kind", BACKENDS)
def test_every_step_of_the_small_size_runs(gpu: ModuleType, make: Any, kind: str) -> None:
    """All image sizes and batches, and the foreign work, go through."""
    made, size = make("cpu", kind), gpu.shapes.SMALL
    unet, product = made.unet(size.unet), made.burn(32)
    for latent in size.latents:
        for batch in size.image_batches:
            assert unet.step(latent, batch) is None
    assert product() is None
    assert kind in made.name


@needs_torch
def test_attention_of_unlike_lengths_is_checked_before_use(gpu: ModuleType) -> None:
    """A way that is wrong, or that torch does not have, is not taken."""
    import torch

    attention, shape = import_module("attention"), gpu.shapes.SMALL.llm
    place, kind = torch.device("cpu"), torch.float32
    assert attention.agrees(attention.one_by_one, shape, place, kind)
    assert not attention.agrees(lambda *sides: 1.1 * attention.one_by_one(*sides), shape, place, kind)

    def missing(*_: Any) -> Any:
        raise RuntimeError("no such kernel")

    assert not attention.agrees(missing, shape, place, kind)
