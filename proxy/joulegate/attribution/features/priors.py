"""What is learned of one upstream from the requests that ended: it fills in what others do not report."""

from collections import OrderedDict, deque
from collections.abc import Sequence

import numpy as np

from joulegate.attribution.input.request import RequestInput
from joulegate.attribution.input.rows import CHUNKED, FINISHED, Table, marked, table
from joulegate.attribution.maths.arrays import Floats, Seconds
from joulegate.attribution.maths.latency import KEPT_ANSWERS, Latency

USUAL_LINE = (-70.0, 1 / 4.2)
"""Prompt tokens of a chat request: constant, and tokens a body byte (JSON around English text)."""
USUAL_BYTES = 4.2
"""Content bytes a completion token, English text."""
ENOUGH_PROMPTS = 5
FADE_PER_REQUEST = 0.999
"""How much a request still counts one request later: about a thousand are remembered."""
TAU_SAMPLES = 300
OFTEN_PART = 0.1
"""Part of the prompts with an unreported cached prefix, above which every prompt is doubtful."""
TAU_ENOUGH = 6
TAU_PERCENTILE = 60
TAU_RANGE_S = (2e-6, 1e-3)


class Priors:
    """What is known of one upstream's usual requests."""

    def __init__(self) -> None:
        self.step: Seconds | None = None
        """Typical length of a step in s."""
        self.per_step = 1.0
        self._prompts = np.zeros(5)
        self._seen = 0
        self.latency = Latency()
        self._bytes = 0.0
        self._tokens = 0.0
        self._tau: deque[float] = deque(maxlen=TAU_SAMPLES)
        self._tau_ids: deque[str] = deque(maxlen=TAU_SAMPLES)
        self._hidden: OrderedDict[str, bool] = OrderedDict()
        self._paces: OrderedDict[str, float] = OrderedDict()

    def learn(self, requests: Sequence[RequestInput]) -> None:
        """Learn from requests that have ended."""
        rows = table(requests)
        reported = rows[rows["prompt"] > 0]
        self._learn_prompts(reported["body"], reported["prompt"])
        finished = marked(rows, FINISHED) & (rows["out"] > 0)
        whole = finished & ~marked(rows, CHUNKED) & (rows["prompt"] > 0)
        last = np.flatnonzero(whole)[-KEPT_ANSWERS:]
        self._learn_latencies(rows[last], [requests[place] for place in last.tolist()])
        texts = rows[finished & (rows["response"] > 0)]
        weights = _fading(len(texts))
        self._bytes = FADE_PER_REQUEST ** len(texts) * self._bytes + float(weights @ texts["response"])
        self._tokens = FADE_PER_REQUEST ** len(texts) * self._tokens + float(weights @ texts["out"])

    def _learn_latencies(self, rows: Table, requests: Sequence[RequestInput]) -> None:
        took = (rows["end"] - rows["start"]).tolist()
        out, prompt = rows["out"] - 1, np.maximum(rows["prompt"] - rows["cached"], 1.0)
        for request, *found in zip(requests, took, out.tolist(), prompt.tolist(), strict=True):
            self.latency.learn(request.id, *found)

    def learn_step(self, step: Seconds) -> None:
        """Record the typical length of a step, as last seen."""
        self.step = step

    def learn_prefill(self, request: RequestInput, per_token: Seconds) -> None:
        """Record the seconds that each prompt token of a request took; only the first time counts."""
        if request.id not in self._tau_ids:
            self._tau_ids.append(request.id)
            self._tau.append(per_token)

    def learn_cache(self, request: RequestInput, *, hidden: bool) -> None:
        """Record whether a prompt's prefix was cached without the server reporting it."""
        self._hidden[request.id] = hidden
        while len(self._hidden) > TAU_SAMPLES:
            self._hidden.popitem(last=False)

    @property
    def hides_cache(self) -> bool:
        """Whether prompts are often cached without a report: then no prompt's work is certain."""
        return sum(self._hidden.values()) > OFTEN_PART * len(self._hidden)

    def learn_image(self, request: RequestInput, took: Seconds, work: float) -> None:
        """Record the seconds that an image's megapixel-steps took."""
        if work > 0 and took > 0:
            self._paces[request.id] = took / work
        while len(self._paces) > TAU_SAMPLES:
            self._paces.popitem(last=False)

    @property
    def image_pace(self) -> Seconds | None:
        """Return the seconds a megapixel-step takes, or ``None`` while no image was seen."""
        return float(np.median(list(self._paces.values()))) if self._paces else None

    def prompts(self, body_bytes: Floats) -> Floats:
        """Estimate the prompt tokens of requests from their sizes."""
        constant, slope = self._line() if self._seen >= ENOUGH_PROMPTS else USUAL_LINE
        return np.maximum(1.0, constant + slope * body_bytes)

    @property
    def bytes_per_token(self) -> float:
        """Return the content bytes of one completion token."""
        return max(self._bytes / self._tokens, 0.1) if self._tokens else USUAL_BYTES

    @property
    def tau(self) -> Seconds | None:
        """Return the seconds a prefilled token takes, or ``None`` while too few were seen."""
        if len(self._tau) < TAU_ENOUGH:
            return None
        return float(np.clip(np.percentile(list(self._tau), TAU_PERCENTILE), *TAU_RANGE_S))

    def _learn_prompts(self, sizes: Floats, tokens: Floats) -> None:
        weights = _fading(len(sizes)) / np.maximum(sizes, 50.0)
        columns = np.stack([np.ones(len(sizes)), sizes, tokens, sizes * sizes, sizes * tokens])
        self._prompts = FADE_PER_REQUEST ** len(sizes) * self._prompts + columns @ weights
        self._seen += len(sizes)

    def _line(self) -> tuple[float, float]:
        w, x, y, xx, xy = self._prompts
        spread = w * xx - x * x
        if spread <= 1e-9 * w * xx:
            return float(y / w), 0.0
        slope = max(0.0, (w * xy - x * y) / spread)
        return float((y - slope * x) / w), float(slope)


def _fading(count: int) -> Floats:
    """Return the weights of so many requests, the last of which counts fully."""
    weights: Floats = np.power(FADE_PER_REQUEST, np.arange(count - 1, -1, -1))
    return weights
