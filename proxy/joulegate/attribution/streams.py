"""Where the work of streams lies in time, as their chunks show it."""

import math
from collections.abc import Sequence

import numpy as np
from msgspec import Struct

from joulegate.attribution.counts import CHUNK_DELAY, Answers, Told
from joulegate.attribution.habits import Habits
from joulegate.attribution.placed import SHORTEST, Curve, Placed, prefill_steps
from joulegate.attribution.spans import Span
from joulegate.attribution.stepclock import Floats, StepClock, Stream, pace

LATE_CHUNK = 0.001
"""s from the last step to the last chunk, at most."""
LUMPY = 1.15
"""Tokens a chunk from which the clock knows better than the chunks."""
CACHED_PROMPT = 400
CACHED_SEEN = 0.55


class OneStream(Struct):
    """The work of one stream."""

    span: Span
    told: Told
    start: float
    prefilled: float
    end: float
    prompt: float
    out: float
    steps: float
    doubtful: bool
    curve: Curve | None


class StreamPlacer:
    """Places the streams of one engine. Steps in which they were prefilled are put into ``claimed``."""

    def __init__(self, clock: StepClock, habits: Habits, budget: int, claimed: set[int]) -> None:
        self._clock = clock
        self._habits = habits
        self._budget = budget
        self._tau = habits.tau
        self._claimed = claimed

    def place(self, answers: Answers, ends: Floats) -> list[Placed]:
        """Give those with the curves of their chunks, and those that the clock knows better.

        ``ends`` are when the work of each request ended, in s.
        """
        clean, lumpy = [], []
        last = ends[answers.streaming].tolist()
        for (place, stream), told, end in zip(answers.streams.items(), answers.told, last, strict=True):
            span = answers.spans[place]
            if not self._clock.speculative and (stream.lumpiness or 1.0) >= LUMPY:
                lumpy.append(self._lumpy_stream(span, told, stream, end))
            else:
                clean.append(self._stream(span, told, stream, end))
        return [self._of_streams(clean), self._of_streams(lumpy)]

    def _stream(self, span: Span, told: Told, stream: Stream, end: float) -> "OneStream":
        first = float(stream.times[0]) if span.first is None else span.first - CHUNK_DELAY
        start = self._start_before(span, first, told)
        if span.finished:
            end = min(end, float(stream.times[-1]) + LATE_CHUNK)
        prompt, start = self._uncached(span, told, start, first)
        if span.finished and told.prompt > CACHED_PROMPT:
            self._habits.learn_cache(span, hidden=prompt < told.prompt)
        sizes = span.content()
        share = (
            sizes / sizes[-1] if sizes[-1] > 0 else np.arange(stream.before, stream.chunks) / stream.chunks
        )
        factor = 1.0 if self._clock.speculative else pace(stream)
        steps = np.arange(stream.before, stream.chunks, dtype=np.float64) * factor
        curve = Curve(stream.times, share * max(told.out, 1.0), steps)
        doubtful = told.guessed_prompt or told.guessed_out
        return OneStream(span, told, start, first, end, prompt, told.out, 0.0, doubtful, curve)

    def _lumpy_stream(self, span: Span, told: Told, stream: Stream, end: float) -> "OneStream":
        """Place a stream whose chunks were coalesced on their way: the clock knows better than they do."""
        clock = self._clock
        ahead = told.out * (span.gone_bytes + span.sizes[0]) / span.seen if span.seen else 1.0
        first = float(stream.times[0])
        earlier = clock.at(stream.times[:1]) - max(ahead - 1, 0) / clock.per_step
        prefilled = min(max(span.start + SHORTEST, float(clock.when(earlier)[0])), first)
        start = self._start_before(span, prefilled, told)
        decode = max(told.out - 1, 1)
        last = clock.when(clock.at(np.array([prefilled])) + decode)
        end = max(prefilled, min(end, float(last[0])))
        return OneStream(span, told, start, prefilled, end, told.prompt, told.out, decode, True, None)

    def _of_streams(self, found: Sequence["OneStream"]) -> Placed:
        prompt = np.array([one.prompt for one in found])
        return Placed(
            spans=[one.span for one in found],
            start=np.array([one.start for one in found]),
            prefilled=np.array([one.prefilled for one in found]),
            end=np.array([one.end for one in found]),
            prompt=prompt,
            context=np.array([one.told.context for one in found]),
            prefill_steps=prefill_steps(prompt, self._budget),
            out=np.array([one.out for one in found]),
            steps=np.array([one.steps for one in found]),
            guessed=np.array([one.told.guessed_prompt for one in found], dtype=bool),
            doubtful=np.array([one.doubtful for one in found], dtype=bool),
            unsure=np.zeros(len(found), dtype=bool),
            clock=self._clock,
            curves=[one.curve for one in found if one.curve is not None],
            hidden_cache=self._habits.hides_cache,
        )

    def _start_before(self, span: Span, prefilled: float, told: Told) -> float:
        """Give the start of a prefill that ended at a step end that was seen, and claim that step."""
        if not math.isnan(told.prefill):
            return max(span.start, prefilled - max(told.prefill, SHORTEST))
        clock = self._clock
        if not clock.ends or prefilled < clock.ends[0] - clock.step:  # long before what is looked at
            return max(span.start, prefilled - max(clock.step, SHORTEST))
        steps = max(1, math.ceil(told.prompt / self._budget))
        place = clock.first_end(prefilled - 0.6 * clock.step)
        self._claimed.add(place)
        if steps == 1 and 0 < place <= len(clock.ends):
            start = clock.ends[place - 1]
            if place < len(clock.ends) and span.start < start:
                self._learn_tau(span, told.prompt, prefilled - start)
        else:
            start = float(clock.back(np.array([prefilled]), np.array([steps]))[0])
        return max(span.start, min(start, prefilled - SHORTEST))

    def _learn_tau(self, span: Span, prompt: float, took: float) -> None:
        if 500 < prompt <= 1900 and span.closed is not None and span.prompt_tokens and not span.cached_tokens:
            self._habits.learn_prefill(span, (took - self._clock.step) / prompt)
            self._tau = self._habits.tau

    def _uncached(self, span: Span, told: Told, start: float, prefilled: float) -> tuple[float, float]:
        """Give the tokens that were computed and when that began.

        A prefill that went far too fast found a cached prefix, unless it had begun in the step before: the
        budget of a step is shared with all who decode or prefill in it.
        """
        if not math.isnan(told.prefill) or told.prompt <= CACHED_PROMPT:
            return told.prompt, start
        steps = max(1, math.ceil(told.prompt / self._budget))
        seen = self._seen(start, prefilled, steps)
        if seen is None or seen >= CACHED_SEEN * told.prompt:
            return told.prompt, start
        earlier = self._step_before(span, start)
        longer = None if earlier is None else self._seen(earlier, prefilled, steps + 1)
        if earlier is not None and longer is not None and longer >= CACHED_SEEN * told.prompt:
            return told.prompt, earlier
        return max(16.0, seen), start

    def _seen(self, start: float, prefilled: float, steps: int) -> float | None:
        """Give the tokens that can have been prefilled over a time of so many steps."""
        tau = self._tau
        return None if tau is None else (prefilled - start - 0.7 * steps * self._clock.step) / tau

    def _step_before(self, span: Span, start: float) -> float | None:
        """Give the start of the step before, if it was a long one and the request was there."""
        ends = self._clock.ends
        place = self._clock.first_end(start - 0.4 * self._clock.step)
        if not 0 < place < len(ends) or span.start >= ends[place] - SHORTEST:
            return None
        long = ends[place] - ends[place - 1] > 1.5 * self._clock.step
        return max(span.start, ends[place - 1]) if long else None
