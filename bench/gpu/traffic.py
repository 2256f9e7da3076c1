"""Seeded traffic: the same seed gives the same requests at the same times, with or without one class."""

import random
from collections.abc import Sequence
from dataclasses import dataclass

from engine import Ask
from shapes import Kind, Size


@dataclass(frozen=True)
class ImageAsk:
    """An image: ``latent`` is an eighth of its side in pixels."""

    id: str
    at: int
    latent: int
    steps: int


def language(size: Size, seconds: float, seed: int, *, without: str | None = None) -> list[Ask]:
    """Return Poisson arrivals of all classes but ``without``, whose absence leaves the others as they are."""
    rng = random.Random(seed)
    found: list[Ask] = []
    t, count = rng.expovariate(size.rate), 0
    while t < seconds:
        kind = rng.choice(size.classes)
        ask = _ask(kind, f"r{count:05d}", t, rng)
        if kind.task != without:
            found.append(ask)
        t, count = t + rng.expovariate(size.rate), count + 1
    return found


def images(size: Size, seconds: float, seed: int) -> list[ImageAsk]:
    """Return Poisson arrivals of images of all sizes."""
    rng = random.Random(seed + 1_000)
    found: list[ImageAsk] = []
    t = rng.expovariate(size.image_rate)
    while t < seconds:
        found.append(
            ImageAsk(
                f"i{len(found):05d}", round(t * 1e9), rng.choice(size.latents), rng.choice(size.image_steps)
            )
        )
        t += rng.expovariate(size.image_rate)
    return found


def alone(kind: Kind, count: int) -> Sequence[Ask]:
    """Return a class by itself, with exactly its mean lengths."""
    return [Ask(f"{kind.task}{number:04d}", kind.task, 0, kind.prompt, kind.out) for number in range(count)]


def _ask(kind: Kind, id_: str, t: float, rng: random.Random) -> Ask:
    prompt, out = (max(2, round(mean * rng.uniform(0.5, 1.5))) for mean in (kind.prompt, kind.out))
    return Ask(id_, kind.task, round(t * 1e9), prompt, out, rng.random() < kind.stream)
