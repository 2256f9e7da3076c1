"""The models in numpy: small, right, and good enough to test the whole experiment on any machine."""

import platform
from collections.abc import Callable, Sequence

import numpy as np
from backend import Part
from shapes import LlmShape, UnetShape

Array = np.ndarray


class NumpyLlm:
    def __init__(self, shape: LlmShape) -> None:
        rng = np.random.default_rng(1)
        self._shape = shape
        self.kv_tokens = shape.kv_tokens
        both = shape.width + 2 * shape.kv_heads * shape.head
        self._embedding = _random(rng, shape.vocab, shape.width)
        self._layers = [
            (
                _random(rng, shape.width, both),
                _random(rng, shape.width, shape.width),
                _random(rng, shape.width, 2 * shape.ffn),
                _random(rng, shape.ffn, shape.width),
            )
            for _ in range(shape.layers)
        ]
        self._pool = np.zeros((shape.layers, 2, shape.kv_tokens, shape.kv_heads, shape.head), np.float32)

    def step(self, parts: Sequence[Part]) -> None:
        self.run(parts)

    def run(self, parts: Sequence[Part]) -> Array:
        """Return the hidden states of all new tokens."""
        shape = self._shape
        places = np.concatenate(
            [np.arange(one.start + one.before, one.start + one.before + one.new) for one in parts]
        )
        x = self._embedding[places % shape.vocab]
        for layer, (attend, project, up, down) in enumerate(self._layers):
            q, k, v = np.split(
                _norm(x) @ attend, [shape.width, shape.width + shape.kv_heads * shape.head], axis=1
            )
            self._pool[layer, 0, places] = k.reshape(-1, shape.kv_heads, shape.head)
            self._pool[layer, 1, places] = v.reshape(-1, shape.kv_heads, shape.head)
            x = x + self._attention(layer, q, parts) @ project
            gate, value = np.split(_norm(x) @ up, 2, axis=1)
            x = x + (gate / (1 + np.exp(-gate)) * value) @ down
        return x

    def _attention(self, layer: int, q: Array, parts: Sequence[Part]) -> Array:
        shape, out, row = self._shape, np.empty_like(q), 0
        for one in parts:
            queries = q[row : row + one.new].reshape(one.new, shape.kv_heads, -1, shape.head)
            keys, values = self._pool[layer, :, one.start : one.start + one.before + one.new]
            scores = np.einsum("nghd,mgd->ghnm", queries, keys) / np.sqrt(shape.head)
            if one.new > 1:
                future = np.triu(np.ones((one.new, one.before + one.new), bool), one.before + 1)
                scores[:, :, future] = -np.inf
            weights = np.exp(scores - scores.max(-1, keepdims=True))
            weights /= weights.sum(-1, keepdims=True)
            out[row : row + one.new] = np.einsum("ghnm,mgd->nghd", weights, values).reshape(one.new, -1)
            row += one.new
        return out


class NumpyUnet:
    """A step does work in proportion to the pixels and, in its attention, to their square."""

    def __init__(self, shape: UnetShape) -> None:
        rng = np.random.default_rng(2)
        self._shape = shape
        self._weights = [_random(rng, shape.channels * 9, shape.channels) for _ in range(shape.blocks)]
        self._rng = rng

    def step(self, latent: int, batch: int) -> None:
        x = self._rng.standard_normal((batch, latent * latent, self._shape.channels), np.float32)
        for weights in self._weights:
            x = x + np.maximum(np.tile(x, 9) @ weights, 0)
        half = x[:, ::4]
        scores = half @ half.transpose(0, 2, 1)
        weights = np.exp(scores - scores.max(-1, keepdims=True))
        np.matmul(weights / weights.sum(-1, keepdims=True), half)


class NumpyBackend:
    def __init__(self) -> None:
        self.name = f"numpy {np.__version__} on {platform.machine()}"

    def llm(self, shape: LlmShape) -> NumpyLlm:
        return NumpyLlm(shape)

    def unet(self, shape: UnetShape) -> NumpyUnet:
        return NumpyUnet(shape)

    def burn(self, side: int) -> Callable[[], None]:
        matrix = _random(np.random.default_rng(3), side, side)
        return lambda: [np.matmul(matrix, matrix) for _ in range(10)] and None


def _random(rng: np.random.Generator, rows: int, columns: int) -> Array:
    return rng.standard_normal((rows, columns), np.float32) / np.float32(np.sqrt(rows))


def _norm(x: Array) -> Array:
    return x / np.sqrt(np.mean(x * x, axis=1, keepdims=True) + 1e-5)
