"""The nodes: a diffusion process on random weights, with numpy. It draws nothing worth looking at."""

import struct
import zlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.float32]
WIDTH = 192
"""Channels of the denoiser: what makes a step cost something."""


class Interrupted(Exception):
    """The client asked to stop."""


class Tools:
    """What a node may use while it works: the step it tells of, the picture it shows, the wish to stop."""

    def __init__(self, progress: Callable[[int, int, bytes | None], None]) -> None:
        self.progress = progress


def load(inputs: Mapping[str, Any], _: Tools) -> Pixels:
    """Load a checkpoint: weights that depend on its name."""
    seed = zlib.crc32(str(inputs["ckpt_name"]).encode())
    weights = np.random.default_rng(seed).standard_normal((WIDTH, WIDTH), dtype=np.float32)
    return weights / np.float32(np.sqrt(WIDTH))


def encode_text(inputs: Mapping[str, Any], _: Tools) -> Pixels:
    """Turn a prompt into a condition."""
    seed = zlib.crc32(str(inputs["text"]).encode())
    return np.random.default_rng(seed).standard_normal(WIDTH, dtype=np.float32)


def empty_latent(inputs: Mapping[str, Any], _: Tools) -> Pixels:
    """Make room for the images: an eighth of each side, as a latent diffusion model has it."""
    shape = int(inputs["batch_size"]), int(inputs["height"]) // 8, int(inputs["width"]) // 8
    return np.zeros((*shape, WIDTH), dtype=np.float32)


def sample(inputs: Mapping[str, Any], tools: Tools) -> Pixels:
    """Denoise, step by step; each step is told with a preview, and may be the last."""
    weights, condition = inputs["model"], inputs["positive"] - inputs["negative"]
    dice = np.random.default_rng(int(inputs["seed"]))
    empty: Pixels = inputs["latent_image"]
    latent: Pixels = empty + dice.standard_normal(empty.shape, dtype=np.float32)
    steps = int(inputs["steps"])
    for step in range(steps):
        noise = np.tanh((latent + condition / (step + 1)) @ weights) @ weights.T
        latent = latent - noise / np.float32(steps)
        tools.progress(step + 1, steps, png(latent[0, :, :, :3]))
    return latent


def decode(inputs: Mapping[str, Any], tools: Tools) -> Pixels:
    """Turn the latent into pixels."""
    del tools
    latent = inputs["samples"] @ inputs["vae"][:, :3]
    return np.repeat(np.repeat(latent, 8, axis=1), 8, axis=2).astype(np.float32)


def save(inputs: Mapping[str, Any], tools: Tools) -> list[bytes]:
    """Keep the images as PNG files."""
    del tools
    return [png(image) for image in inputs["images"]]


def png(pixels: Pixels) -> bytes:
    """Return an image as a PNG file (W3C PNG specification, third edition, section 5)."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        body = kind + content
        return struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))

    colours = ((np.tanh(pixels) + 1) * 127.5).astype(np.uint8)
    height, width, _ = colours.shape
    rows = b"".join(b"\0" + row.tobytes() for row in colours)
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows, 1)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts


NODES: Mapping[str, Callable[[Mapping[str, Any], Tools], Any]] = {
    "CheckpointLoaderSimple": load,
    "CLIPTextEncode": encode_text,
    "EmptyLatentImage": empty_latent,
    "KSampler": sample,
    "VAEDecode": decode,
    "SaveImage": save,
}
OUTPUTS = frozenset({"SaveImage"})
"""Nodes whose results are what a prompt is for."""
