"""What draws: a diffusion process on random weights with numpy, or a small trained model."""

import struct
import zlib
from collections.abc import Callable
from importlib import import_module
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

Picture = npt.NDArray[np.uint8]
"""Height, width, three colours."""
Tick = Callable[[], bool]
"""Called after each step; says whether to go on."""
_CHANNELS = 64
"""Of the denoiser: what makes a step cost something."""


class Artist(Protocol):
    """Draws one picture."""

    def draw(self, size: tuple[int, int], steps: int, seed: int, tick: Tick) -> Picture:
        """Draw in so many steps, or until ``tick`` says no; ``size`` is width and height."""
        ...

    def load(self, checkpoint: str) -> None:
        """Accept other weights."""
        ...


class Denoiser:
    """Real arithmetic, about as much for each step and pixel; it draws nothing worth looking at."""

    def __init__(self) -> None:
        self._weights = np.zeros((0, 0), np.float32)
        self.load("")

    def load(self, checkpoint: str) -> None:
        """Make the weights that belong to a name."""
        dice = np.random.default_rng(zlib.crc32(checkpoint.encode()))
        weights = dice.standard_normal((_CHANNELS, _CHANNELS), dtype=np.float32)
        self._weights = weights / np.float32(_CHANNELS**0.5)

    def draw(self, size: tuple[int, int], steps: int, seed: int, tick: Tick) -> Picture:
        """Accept the noise out of noise, at an eighth of each side as latent models do."""
        width, height = size
        shape = max(1, height // 8), max(1, width // 8), _CHANNELS
        latent = np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)
        for _ in range(steps):
            latent = latent - np.tanh(latent @ self._weights) @ self._weights.T / np.float32(max(steps, 1))
            if not tick():
                break
        colours = ((latent[:, :, :3] + 2) * 64).clip(0, 255).astype(np.uint8)
        return colours.repeat(8, 0).repeat(8, 1)[:height, :width]


class Terrain:
    """The trained model of examples/servers/image_server.py, asked once a step; it knows no prompt."""

    def __init__(self) -> None:
        self._model: Any = import_module("terrain_diffusion").TerrainGenerator()

    def load(self, checkpoint: str) -> None:
        """There is only one model."""

    def draw(self, size: tuple[int, int], steps: int, seed: int, tick: Tick) -> Picture:
        """Draw height as grey. The model is distilled to one step: of several, each adds a landscape."""
        height = np.zeros((size[1], size[0]), np.float32)
        for step in range(max(steps, 1)):
            height += self._model.generate(1, shape=height.shape, seed=seed + step)[0]
            if not tick():
                break
        level = (height / max(float(height.max()), 1e-6) * 255).clip(0, 255).astype(np.uint8)
        return level[..., None].repeat(3, 2)


def png(picture: Picture) -> bytes:
    """Return the file (W3C PNG, third edition, section 5)."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return (
            struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        )

    height, width, _ = picture.shape
    rows = b"".join(b"\0" + row.tobytes() for row in picture)
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(rows, 1)) + chunk(b"IEND", b"")
