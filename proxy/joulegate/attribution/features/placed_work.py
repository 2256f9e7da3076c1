"""The work of text requests as it lies in time."""

from collections.abc import Sequence

import numpy as np
from msgspec import Struct

from joulegate.attribution.features.step_clock import StepClock
from joulegate.attribution.input.request import RequestInput
from joulegate.attribution.maths.arrays import Bools, Floats, Ints

SHORTEST_PREFILL_S = 0.002
"""No prefill is shorter."""


class Curves(Struct, frozen=True):
    """The decoding of many streams, one after the other."""

    times: Floats
    """Instants in s."""
    tokens: Floats
    """Answer tokens there are at ``times``."""
    steps: Floats
    """Decode steps done at ``times``."""
    counts: Ints
    """Instants of each stream."""

    def __len__(self) -> int:
        return len(self.counts)


NO_CURVES = Curves(np.empty(0), np.empty(0), np.empty(0), np.empty(0, dtype=np.int64))


class PlacedWork(Struct, frozen=True):
    """The work of text requests, a place for each of them in every column."""

    requests: list[RequestInput]
    start: Floats
    """Prefill starts: s."""
    prefilled: Floats
    """Prefill ends, the first token is there: s."""
    end: Floats
    prompt: Floats
    """Tokens to prefill."""
    context: Floats
    """Tokens of the whole prompt, cached ones too."""
    prefill_steps: Floats
    out: Floats
    """Tokens of the answer."""
    steps: Floats
    """Decode steps from ``prefilled`` to ``end``."""
    guessed: Bools
    """The prompt's tokens were estimated from its bytes."""
    doubtful: Bools
    """The instant of the prefill, or the tokens, were guessed."""
    unsure: Bools
    """It still runs and shows nothing of its work."""
    clock: StepClock
    """By which those decode that have no curve of their own: evenly between their ends."""
    curves: Curves = NO_CURVES
    """Of the first requests: streams."""
    hidden_cache: bool = False
    """Their engine often caches prompts without saying so."""

    @property
    def finish(self) -> Floats:
        """Return the end of the presence on the device in s."""
        finish: Floats = np.maximum.reduce([self.end, self.prefilled, self.start + SHORTEST_PREFILL_S])
        return finish

    def __len__(self) -> int:
        return len(self.requests)


COLUMNS = (
    "start", "prefilled", "end", "prompt", "context", "prefill_steps", "out", "steps", "guessed", "doubtful",
    "unsure",
)  # fmt: skip


def prefill_steps(prompt: Floats, budget: int) -> Floats:
    """Return the engine steps that prompts take, at so many tokens a step."""
    steps: Floats = np.maximum(1.0, np.ceil(prompt / budget))
    return steps


def joined(parts: Sequence[PlacedWork]) -> PlacedWork:
    """Put parts of one engine together; only the first may have curves."""
    first = parts[0]
    columns = {name: np.concatenate([getattr(part, name) for part in parts]) for name in COLUMNS}
    requests = [request for part in parts for request in part.requests]
    return PlacedWork(
        requests=requests, clock=first.clock, curves=first.curves, hidden_cache=first.hidden_cache, **columns
    )
