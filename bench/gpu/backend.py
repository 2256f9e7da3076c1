"""What the experiment asks of a machine: steps of a language model, of a denoiser, and a matrix product.

Two of them: numpy, for a machine without torch and for the tests, and torch, for a GPU or a CPU.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import shapes


@dataclass(frozen=True)
class Part:
    """What one sequence does in one step: ``new`` tokens after the ``before`` that lie at ``start``."""

    start: int
    before: int
    new: int


class Llm(Protocol):
    kv_tokens: int

    def step(self, parts: Sequence[Part]) -> None:
        """Do one engine step; returns when the device has done it."""


class Unet(Protocol):
    def step(self, latent: int, batch: int) -> None:
        """Do one denoising step; returns when the device has done it."""


class Backend(Protocol):
    name: str
    """The device in words, for the report."""

    def llm(self, shape: shapes.LlmShape) -> Llm: ...

    def unet(self, shape: shapes.UnetShape) -> Unet: ...

    def burn(self, side: int) -> Callable[[], None]:
        """Return a function that keeps the device busy for some milliseconds."""


def make(device: str, kind: str) -> Backend:
    """Return the backend ``kind``: numpy, torch, or auto, which is torch where it is installed."""
    if kind == "auto":
        kind = "torch" if device == "cuda" or _has_torch() else "numpy"
    if kind == "numpy":
        from on_numpy import NumpyBackend

        return NumpyBackend()
    from on_torch import TorchBackend

    return TorchBackend(device)


def _has_torch() -> bool:
    from importlib.util import find_spec

    return find_spec("torch") is not None
