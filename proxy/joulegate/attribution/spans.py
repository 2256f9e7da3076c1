"""What settlement keeps of one request, in float seconds after the settler's origin."""

from collections import Counter
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from joulegate.model import (
    WORKLESS,
    DeviceId,
    Fact,
    JobState,
    Outcome,
    SpanChunks,
    SpanClosed,
    SpanEvent,
    SpanFirstByte,
    SpanJob,
    SpanOpened,
    TaskFacts,
)
from joulegate.units import NANO

Floats = npt.NDArray[np.float64]

MAX_TOKENS = 4_000_000
"""No context window is larger; a larger count is a lie."""
NEVER_STARTED = {Outcome.UPSTREAM_REFUSED}
MEGAPIXEL = 2**20
BLOCKS = 6
"""Blocks of the past that the jackknife leaves out in turn."""


class Kind(StrEnum):
    """Which features describe the work."""

    LLM = "llm"
    IMAGE = "image"


class Span:
    """One request as it becomes known. Every fact is ``None`` until then."""

    def __init__(self, opened: SpanOpened, origin: int, place: int) -> None:
        self.opened = opened
        self.origin = origin
        self.place = place
        """Order of arrival: the order of ties."""
        self.start = self._seconds(opened.t)
        self.first_byte: float | None = None
        self.running: float | None = None
        self.is_job = False
        self.times: list[float] = []
        self.sizes: list[int] = []
        self._arrays: tuple[Floats, Floats] | None = None
        self.closed: SpanClosed | None = None
        self.end: float | None = None
        self.left: float | None = None
        self.booked: Counter[DeviceId] = Counter()
        self.static: Counter[DeviceId] = Counter()
        self.wasted = 0
        self.measured = False
        self.alternatives = [0.0] * BLOCKS
        """Energy by the fits that leave out a block of the past each, in J."""
        self.methods: Counter[str] = Counter()
        """Microjoules booked by each method."""
        self.static_known = False
        self.service = 0.0
        """Time on the device in s, as last seen."""
        self.guessed = False
        """Its prompt tokens were estimated."""
        self.unsure_cache = False
        """Its server often caches prompts without saying so."""
        self.misfit = 0.0
        """How far the fit is from the counter in work of this kind, as part of the energy."""
        self.previewed = False
        """A provisional figure was given out."""
        self.done = False
        """The final figure was given out."""

    @property
    def id(self) -> str:
        """Give the request's id."""
        return self.opened.id

    def take(self, event: SpanEvent) -> None:
        """Take an event of this request; a second one of the same kind changes nothing."""
        match event:
            case SpanFirstByte(t=t) if self.first_byte is None:
                self.first_byte = self._seconds(t)
            case SpanChunks(times=times, sizes=sizes):
                self._take_chunks([self._seconds(t) for t in times], sizes)
            case SpanJob(t=t, state=state):
                self._take_job(self._seconds(t), state)
            case SpanClosed() if self.closed is None:
                self._close(event)
            case _:
                pass

    def chunks(self) -> tuple[Floats, Floats]:
        """Give arrival times in s and content bytes so far of the chunks."""
        if self._arrays is None or len(self._arrays[0]) != len(self.times):
            self._arrays = np.array(self.times), np.cumsum(self.sizes, dtype=np.float64)
        return self._arrays

    def kind(self, declared: str) -> Kind:
        """Give the kind of work: the upstream's, or as the request's own facts say."""
        if declared in (Kind.LLM, Kind.IMAGE):
            return Kind(declared)
        asked, facts = self.opened.asked, self.closed.facts if self.closed else None
        drawn = facts is not None and (facts.pixels or facts.images or facts.steps)
        return Kind.IMAGE if drawn or asked.steps or asked.width else Kind.LLM

    @property
    def queued(self) -> bool:
        """Say whether it is a job of which nothing says yet that it runs."""
        return self.is_job and self.running is None and self.end is None

    def works(self) -> bool:
        """Say whether the request can have caused any work on the device."""
        if self.queued:
            return False
        if self.opened.work_in(self.closed.facts if self.closed else None) in WORKLESS:
            return False
        if self.closed is None:
            return True
        refused = self.closed.outcome is Outcome.CLIENT_ERROR and not self.times
        return not refused and self.closed.outcome not in NEVER_STARTED

    @property
    def orphaned(self) -> bool:
        """Say whether the gate died while the request was open."""
        return self.closed is not None and self.closed.outcome is Outcome.ORPHANED

    @property
    def finished(self) -> bool:
        """Say whether the server did the whole work."""
        return self.closed is not None and self.closed.outcome is Outcome.OK

    @property
    def streamed(self) -> bool:
        """Say whether the answer comes in parts."""
        if self.times:
            return True
        if self.closed is not None:
            return self.closed.streamed
        return bool(self.opened.asked.stream)

    @property
    def prompt_tokens(self) -> int | None:
        """Give the prompt tokens that the server reported."""
        return _count(self.closed.facts.prompt_tokens) if self.closed else None

    @property
    def completion_tokens(self) -> int | None:
        """Give the completion tokens that the server reported."""
        return _count(self.closed.facts.completion_tokens) if self.closed else None

    @property
    def cached_tokens(self) -> int:
        """Give the prompt tokens that the server says it did not compute."""
        return (_count(self.closed.facts.cached_prompt_tokens) if self.closed else None) or 0

    @property
    def lies(self) -> bool:
        """Say whether the server reported counts that cannot be true."""
        facts = self.closed.facts if self.closed else TaskFacts()
        told = (facts.prompt_tokens, facts.completion_tokens, facts.cached_prompt_tokens)
        return any(fact is not None and _count(fact) is None for fact in told)

    @property
    def response_bytes(self) -> int:
        """Give the content bytes of the answer so far."""
        seen = self.chunks()[1][-1] if self.sizes else 0
        return max(self.closed.response_bytes if self.closed else 0, int(seen))

    def image_work(self) -> tuple[float, float, float]:
        """Give megapixels of one image, steps and images; usual values where the request does not say."""
        asked, facts = self.opened.asked, self.closed.facts if self.closed else None
        images = (_count(facts.images) if facts else None) or asked.images or 1
        pixels = (facts.pixels.value if facts and facts.pixels else 0) or 0
        each = pixels / images if pixels else (asked.width or 1024) * (asked.height or 1024)
        told = _count(facts.steps) if facts else None
        steps = (asked.steps or 20) if told is None else told
        return each / MEGAPIXEL, float(steps), float(images)

    def _take_chunks(self, times: list[float], sizes: list[int]) -> None:
        """Append what is newer than the newest: the same event may come twice."""
        newest = self.times[-1] if self.times else float("-inf")
        if times and (times[0] > newest or not self.times or times[-1] > newest):
            fresh = [(t, size) for t, size in zip(times, sizes, strict=False) if t >= newest]
            if times[0] <= newest:
                fresh = [(t, size) for t, size in fresh if t > newest]
            self.times.extend(t for t, _ in fresh)
            self.sizes.extend(max(size, 0) for _, size in fresh)

    def _take_job(self, t: float, state: JobState) -> None:
        self.is_job = True
        if state is JobState.RUNNING and self.running is None:
            self.running = t
            self.start = max(self.start, t)  # time before is queue and costs nothing

    def _close(self, event: SpanClosed) -> None:
        self.closed = event
        self.end = max(self._seconds(event.t), self.start)
        self.left = None if event.client_left is None else self._seconds(event.client_left)

    def _seconds(self, t: int) -> float:
        return (t - self.origin) / NANO


def _count(fact: Fact | None) -> int | None:
    """Give a count that can be true."""
    if fact is None or not 0 <= fact.value <= MAX_TOKENS:
        return None
    return fact.value
