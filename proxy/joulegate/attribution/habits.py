"""What is learned of one upstream from the requests that ended: it fills in what others do not tell."""

from collections import OrderedDict, deque

import numpy as np

from joulegate.attribution.latency import Latency
from joulegate.attribution.spans import Floats, Span

USUAL_LINE = (-70.0, 1 / 4.2)
"""Prompt tokens of a chat request: constant, and tokens a body byte (JSON around English text)."""
USUAL_BYTES = 4.2
"""Content bytes a completion token, English text."""
ENOUGH = 5
FADE = 0.999
"""How much a request still counts one request later: about a thousand are remembered."""
TAU_SAMPLES = 300
OFTEN = 0.1
"""Part of the prompts with a cached prefix that nobody reported, above which every prompt is doubtful."""
TAU_ENOUGH = 6
TAU_PERCENTILE = 60
TAU_RANGE = (2e-6, 1e-3)


class Habits:
    """Running knowledge of one upstream."""

    def __init__(self) -> None:
        self.step: float | None = None
        """Typical length of a step in s."""
        self.per_step = 1.0
        self._prompts = [0.0] * 5
        self._seen = 0
        self.latency = Latency()
        self._bytes = 0.0
        self._tokens = 0.0
        self._tau: deque[float] = deque(maxlen=TAU_SAMPLES)
        self._tau_ids: deque[str] = deque(maxlen=TAU_SAMPLES)
        self._hidden: OrderedDict[str, bool] = OrderedDict()
        self._paces: OrderedDict[str, float] = OrderedDict()

    def learn(self, span: Span) -> None:
        """Take a request that has ended."""
        if span.prompt_tokens:
            self._learn_prompt(float(span.opened.body_bytes), float(span.prompt_tokens))
        if span.finished and not span.times and span.completion_tokens and span.prompt_tokens and span.end:
            prompt = max(span.prompt_tokens - span.cached_tokens, 1)
            self.latency.learn(span.id, span.end - span.start, span.completion_tokens - 1, prompt)
        if span.completion_tokens and span.response_bytes and span.finished:
            self._bytes = FADE * self._bytes + span.response_bytes
            self._tokens = FADE * self._tokens + span.completion_tokens

    def learn_prefill(self, span: Span, per_token: float) -> None:
        """Take the seconds that each prompt token of a request took, once a request."""
        if span.id not in self._tau_ids:
            self._tau_ids.append(span.id)
            self._tau.append(per_token)

    def learn_cache(self, span: Span, *, hidden: bool) -> None:
        """Take whether a prompt's prefix was cached and the server did not say so."""
        self._hidden[span.id] = hidden
        while len(self._hidden) > TAU_SAMPLES:
            self._hidden.popitem(last=False)

    @property
    def hides_cache(self) -> bool:
        """Say whether prompts are often cached without a word: then no prompt's work is sure."""
        return sum(self._hidden.values()) > OFTEN * len(self._hidden)

    def learn_image(self, span: Span, took: float, work: float) -> None:
        """Take the seconds that an image's megapixel-steps took."""
        if work > 0 and took > 0:
            self._paces[span.id] = took / work
        while len(self._paces) > TAU_SAMPLES:
            self._paces.popitem(last=False)

    @property
    def image_pace(self) -> float | None:
        """Give the seconds a megapixel-step takes, or ``None`` while no image was seen."""
        return float(np.median(list(self._paces.values()))) if self._paces else None

    def prompts(self, body_bytes: Floats) -> Floats:
        """Estimate the prompt tokens of requests from their sizes."""
        constant, slope = self._line() if self._seen >= ENOUGH else USUAL_LINE
        return np.maximum(1.0, constant + slope * body_bytes)

    @property
    def bytes_per_token(self) -> float:
        """Give the content bytes of one completion token."""
        return max(self._bytes / self._tokens, 0.1) if self._tokens else USUAL_BYTES

    @property
    def tau(self) -> float | None:
        """Give the seconds a prefilled token takes, or ``None`` while too few were seen."""
        if len(self._tau) < TAU_ENOUGH:
            return None
        return float(np.clip(np.percentile(list(self._tau), TAU_PERCENTILE), *TAU_RANGE))

    def _learn_prompt(self, size: float, tokens: float) -> None:
        weight = 1 / max(size, 50.0)
        row = (1.0, size, tokens, size * size, size * tokens)
        self._prompts = [FADE * old + weight * new for old, new in zip(self._prompts, row, strict=True)]
        self._seen += 1

    def _line(self) -> tuple[float, float]:
        w, x, y, xx, xy = self._prompts
        spread = w * xx - x * x
        if spread <= 1e-9 * w * xx:
            return float(y / w), 0.0
        slope = max(0.0, (w * xy - x * y) / spread)
        return float((y - slope * x) / w), float(slope)
