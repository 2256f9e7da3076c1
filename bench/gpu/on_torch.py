"""The models in torch: bf16 on a GPU, float32 on a CPU; random weights, true sizes, real memory traffic.

Eager kernels, no graphs: the launches of a step cost some milliseconds of a waiting GPU, which belongs to
the step's fixed energy as it does in many servers.
"""

from collections.abc import Callable, Sequence

import torch
from attention import Lengths, choose
from backend import Part
from shapes import LlmShape, UnetShape
from torch import Tensor
from torch.nn import functional

SPARE = 0.55
"""Part of the free memory that the key-value pool may take; the second process needs some too."""


class TorchLlm:
    def __init__(self, shape: LlmShape, device: torch.device, kind: torch.dtype) -> None:
        torch.manual_seed(1)
        self._shape, self._device = shape, device
        both = shape.width + 2 * shape.kv_heads * shape.head
        self._embedding = _random(shape.vocab, shape.width, device, kind)
        self._layers = [
            (
                _random(shape.width, both, device, kind),
                _random(shape.width, shape.width, device, kind),
                _random(shape.width, 2 * shape.ffn, device, kind),
                _random(shape.ffn, shape.width, device, kind),
            )
            for _ in range(shape.layers)
        ]
        self._head = _random(shape.width, shape.vocab, device, kind)
        self.kv_tokens = min(shape.kv_tokens, _room(shape, device, self._head.element_size()))
        size = (shape.layers, 2, self.kv_tokens, shape.kv_heads, shape.head)
        # Random, not zero: a matrix unit draws measurably less on zeros.
        self._pool = torch.empty(size, device=device, dtype=kind)
        for layer in self._pool:
            layer.normal_(0, 0.3)
        self.attention_name, self._attend = choose(shape, device, kind)

    @torch.inference_mode()
    def step(self, parts: Sequence[Part]) -> None:
        states = self.run(parts)
        last = torch.tensor([one.new for one in parts]).cumsum(0) - 1
        (states[last.to(self._device)] @ self._head).argmax(-1).cpu()  # the copy waits for the device

    @torch.inference_mode()
    def run(self, parts: Sequence[Part]) -> Tensor:
        """Return the hidden states of all new tokens."""
        shape, width = self._shape, self._shape.kv_heads * self._shape.head
        places = torch.cat(
            [torch.arange(one.start + one.before, one.start + one.before + one.new) for one in parts]
        ).to(self._device)
        lengths = Lengths.of(parts, self._device)
        x = self._embedding[places % shape.vocab]
        for layer, (attend, project, up, down) in enumerate(self._layers):
            q, k, v = (functional.rms_norm(x, (shape.width,)) @ attend).split(
                [shape.width, width, width], dim=1
            )
            keys, values = self._pool[layer]
            keys[places] = k.view(-1, shape.kv_heads, shape.head)
            values[places] = v.view(-1, shape.kv_heads, shape.head)
            seen = self._attend(q.reshape(-1, shape.heads, shape.head), keys, values, lengths)
            x = x + seen.reshape(-1, shape.width) @ project
            gate, value = (functional.rms_norm(x, (shape.width,)) @ up).chunk(2, dim=1)
            x = x + (functional.silu(gate) * value) @ down
        return x


class TorchUnet:
    def __init__(self, shape: UnetShape, device: torch.device, kind: torch.dtype) -> None:
        torch.manual_seed(2)
        self._shape, self._device, self._kind = shape, device, kind
        wide = shape.channels
        self._outer = [_kernel(wide, wide, device, kind) for _ in range(2 * shape.blocks)]
        self._inner = [_kernel(2 * wide, 2 * wide, device, kind) for _ in range(2 * shape.blocks)]
        self._down, self._up = _kernel(2 * wide, wide, device, kind), _kernel(wide, 2 * wide, device, kind)
        self._mix = [
            (_random(2 * wide, 6 * wide, device, kind), _random(2 * wide, 2 * wide, device, kind))
            for _ in range(shape.blocks)
        ]

    @torch.inference_mode()
    def step(self, latent: int, batch: int) -> None:
        size = (batch, self._shape.channels, latent, latent)
        x = torch.randn(size, device=self._device, dtype=self._kind).contiguous(
            memory_format=torch.channels_last
        )
        for kernel in self._outer:
            x = x + functional.conv2d(
                functional.silu(functional.group_norm(x, self._shape.heads // 2)), kernel, padding=1
            )
        y = functional.conv2d(x, self._down, stride=2, padding=1)
        for number, kernel in enumerate(self._inner):
            y = y + functional.conv2d(
                functional.silu(functional.group_norm(y, self._shape.heads // 2)), kernel, padding=1
            )
            if number % 2:
                y = self._attend(y, *self._mix[number // 2])
        x = x + functional.conv2d(functional.interpolate(y, scale_factor=2.0), self._up, padding=1)
        x.float().mean().item()  # waits for the device

    def _attend(self, y: Tensor, mix: Tensor, project: Tensor) -> Tensor:
        batch, wide, high, broad = y.shape
        rows = y.flatten(2).transpose(1, 2)
        parts = (rows @ mix).view(batch, high * broad, 3, self._shape.heads, -1).permute(2, 0, 3, 1, 4)
        seen = functional.scaled_dot_product_attention(parts[0], parts[1], parts[2])
        rows = rows + seen.transpose(1, 2).reshape(batch, high * broad, wide) @ project
        return rows.transpose(1, 2).view(batch, wide, high, broad)


class TorchBackend:
    def __init__(self, device: str) -> None:
        self._device = torch.device(device)
        self._kind = torch.bfloat16 if device == "cuda" else torch.float32
        chip = torch.cuda.get_device_name() if device == "cuda" else "CPU"
        self.name = f"torch {torch.__version__} on {chip}"

    def llm(self, shape: LlmShape) -> TorchLlm:
        return TorchLlm(shape, self._device, self._kind)

    def unet(self, shape: UnetShape) -> TorchUnet:
        return TorchUnet(shape, self._device, self._kind)

    def burn(self, side: int) -> Callable[[], None]:
        matrix = _random(side, side, self._device, self._kind)

        @torch.inference_mode()
        def product() -> None:
            for _ in range(10):
                found = matrix @ matrix
            found[0, 0].item()

        return product


def _random(rows: int, columns: int, device: torch.device, kind: torch.dtype) -> Tensor:
    return (torch.randn(rows, columns, device=device, dtype=torch.float32) / rows**0.5).to(kind)


def _kernel(out: int, into: int, device: torch.device, kind: torch.dtype) -> Tensor:
    weights = torch.randn(out, into, 3, 3, device=device) / (9 * into) ** 0.5
    return weights.to(kind).contiguous(memory_format=torch.channels_last)


def _room(shape: LlmShape, device: torch.device, size: int) -> int:
    """Return the tokens for which the device has memory."""
    if device.type != "cuda":
        return shape.kv_tokens
    free, _ = torch.cuda.mem_get_info()
    return int(SPARE * free) // (shape.layers * 2 * shape.kv_heads * shape.head * size)
