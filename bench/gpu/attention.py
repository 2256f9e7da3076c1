"""Attention of sequences of unlike lengths over one pool of keys and values.

Where torch has the flash kernel for it, one launch a layer reads just the tokens that each sequence has.
Elsewhere each sequence is a call of its own: right, and slow. ``choose`` tries the first against the second
and takes it only if it agrees, because it is no public interface of torch.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from backend import Part
from shapes import LlmShape
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True)
class Lengths:
    """Where the queries and the keys of each sequence lie."""

    parts: tuple[Part, ...]
    queries: Tensor
    """Cumulated new tokens, from 0."""
    starts: Tensor
    """First place in the pool, and one more entry."""
    used: Tensor
    longest_query: int
    longest_key: int

    @classmethod
    def of(cls, parts: Sequence[Part], device: torch.device) -> "Lengths":
        new = torch.tensor([0, *(one.new for one in parts)], dtype=torch.int32)
        used = [one.before + one.new for one in parts]
        starts = [*(one.start for one in parts), parts[-1].start + used[-1]]
        # At least 2: for 1 the kernel folds heads into queries and wants one query of every sequence.
        return cls(
            tuple(parts),
            new.cumsum(0).to(device, torch.int32),
            torch.tensor(starts, dtype=torch.int32).to(device),
            torch.tensor(used, dtype=torch.int32).to(device),
            max(2, *(one.new for one in parts)),
            max(used),
        )


Attention = Callable[[Tensor, Tensor, Tensor, Lengths], Tensor]


def one_by_one(q: Tensor, keys: Tensor, values: Tensor, lengths: Lengths) -> Tensor:
    """Attend each sequence with a call of its own."""
    found, row = [], 0
    for part in lengths.parts:
        used = slice(part.start, part.start + part.before + part.new)
        mask = None
        if part.new > 1:
            seen = torch.arange(part.before + part.new, device=q.device)
            mask = (
                seen[None, :] <= torch.arange(part.before, part.before + part.new, device=q.device)[:, None]
            )
        repeat = q.shape[1] // keys.shape[1]
        k, v = (side[used].transpose(0, 1).repeat_interleave(repeat, dim=0)[None] for side in (keys, values))
        query = q[row : row + part.new].transpose(0, 1)[None]
        found.append(functional.scaled_dot_product_attention(query, k, v, attn_mask=mask)[0].transpose(0, 1))
        row += part.new
    return torch.cat(found)


def all_at_once(q: Tensor, keys: Tensor, values: Tensor, lengths: Lengths) -> Tensor:
    """Attend all sequences in one launch of the flash kernel."""
    return torch.ops.aten._flash_attention_forward(  # noqa: SLF001 (see the module)
        q, keys, values, lengths.queries, lengths.starts, lengths.longest_query, lengths.longest_key,
        0.0, True, False, scale=1 / math.sqrt(q.shape[-1]), seqused_k=lengths.used,
    )[0]  # fmt: skip


def choose(shape: LlmShape, device: torch.device, kind: torch.dtype) -> tuple[str, Attention]:
    """Return the fastest way that is right here."""
    if device.type == "cuda" and agrees(all_at_once, shape, device, kind):
        return "flash, all sequences at once", all_at_once
    return "one sequence after the other", one_by_one


@torch.inference_mode()
def agrees(way: Attention, shape: LlmShape, device: torch.device, kind: torch.dtype) -> bool:
    """Whether a way gives what ``one_by_one`` gives, on a mixture of prefills and decodes."""
    parts = [Part(10, 0, 33), Part(300, 40, 17), Part(700, 129, 1), Part(1000, 0, 1), Part(1500, 400, 1)]
    lengths = Lengths.of(parts, device)
    q = torch.randn(sum(one.new for one in parts), shape.heads, shape.head, device=device, dtype=kind)
    keys, values = torch.randn(2, 2048, shape.kv_heads, shape.head, device=device, dtype=kind)
    try:
        found = way(q, keys, values, lengths).float()
    except (RuntimeError, TypeError, AttributeError, NotImplementedError) as error:
        print(f"the flash kernel for unlike lengths cannot be used: {error}", flush=True)
        return False
    wanted = one_by_one(q, keys, values, lengths).float()
    off = float((found - wanted).norm() / wanted.norm())
    if not off < 0.02:
        print(f"the flash kernel for unlike lengths is off by {off:.3f}: not used", flush=True)
    return off < 0.02
