"""The work of one text request as it lies in time."""

from msgspec import Struct

from joulegate.attribution.spans import Span
from joulegate.attribution.stepclock import Floats

SHORTEST = 0.002
"""s: no prefill is shorter."""


class Placed(Struct):
    """The work of one text request."""

    span: Span
    start: float
    """Prefill starts: s."""
    prefilled: float
    """Prefill ends, the first token is there: s."""
    end: float
    prompt: float
    """Tokens to prefill."""
    context: float
    """Tokens of the whole prompt, cached ones too."""
    prefill_steps: float
    times: Floats
    """Instants of the decoding curve: s."""
    tokens: Floats
    """Answer tokens there are at ``times``."""
    steps: Floats
    """Decode steps done at ``times``."""
    guessed: bool
    """The prompt's tokens were estimated from its bytes."""
    doubtful: bool
    hidden_cache: bool
    """Its engine often caches prompts without saying so."""
    """The instant of the prefill, or the tokens, were guessed."""
    unsure: bool = False
    """It still runs and shows nothing of its work."""

    @property
    def finish(self) -> float:
        """Give the end of the presence on the device in s."""
        return max(self.end, self.prefilled, self.start + SHORTEST)
