"""Where the work of each text request lies in time: its prefill and its decoding.

Time before the service starts is queue and costs nothing. What the server itself reports of its timing
beats all inference from chunks.
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from msgspec.structs import replace

from joulegate.attribution.counts import Counts, count, encodes, reported_phase
from joulegate.attribution.habits import Habits
from joulegate.attribution.placed import SHORTEST, Placed
from joulegate.attribution.spans import Span
from joulegate.attribution.stepclock import StepClock, Stream, pace

END_DELAY = 0.003
"""s from the last step to the end of the answer."""
ABORT_DELAY = 0.020
"""s until an engine notices that its client has left."""
LATE_CHUNK = 0.001
BUDGET = 2048
"""Tokens that an engine prefills in one step, unless known."""
SNAP_PROMPT = 300
"""Tokens: the prefill of a shorter prompt leaves no long step to be found by."""
CACHED_PROMPT = 400
CACHED_SEEN = 0.55
LEAVE_TOGETHER = 0.0016
"""s: answers of one dynamic batch leave within this time."""


class Placer:
    """Places the text requests of one engine by its step clock."""

    def __init__(
        self,
        clock: StepClock,
        habits: Habits,
        now: float,
        *,
        streams: Mapping[str, tuple[Counts, Stream]],
        budget: int = BUDGET,
    ) -> None:
        self._clock = clock
        self._streams = streams
        self._habits = habits
        self._now = now
        self._budget = budget
        self._claimed: set[int] = set()

    def place(self, spans: Sequence[Span]) -> list[Placed]:
        """Place all of them: streamed ones first, for they claim the steps in which they were prefilled."""
        streamed = [span for span in spans if span.times]
        others = sorted(
            (span for span in spans if not span.times), key=lambda span: (self._end(span), span.place)
        )
        encoded = [span for span in others if encodes(span)]
        whole = [span for span in others if not encodes(span)]
        return [*map(self._streamed, streamed), *self._encoded(encoded), *map(self._whole, whole)]

    def _encoded(self, spans: Sequence[Span]) -> list[Placed]:
        """Place requests without any decoding: batches that leave together, one after the other."""
        placed: list[Placed] = []
        free = -math.inf
        for batch in self._leaving(spans):
            end = self._end(batch[0])
            start = min(max(free, *(span.start for span in batch)), end - SHORTEST)
            for span in batch:
                counts = count(span, self._habits)
                reported = reported_phase(span, "prefill")
                begun = start if reported is None else end - max(reported, SHORTEST)
                one = self._ridden(span, counts, max(begun, span.start), end, end, 0.0)
                one.doubtful = counts.guessed_prompt
                placed.append(one)
            free = end
        return placed

    def _leaving(self, spans: Sequence[Span]) -> list[list[Span]]:
        batches: list[list[Span]] = []
        for span in spans:
            if batches and self._end(span) - self._end(batches[-1][0]) <= LEAVE_TOGETHER:
                batches[-1].append(span)
            else:
                batches.append([span])
        return batches

    def _end(self, span: Span) -> float:
        if span.end is None:
            return self._now
        return span.end - END_DELAY if span.finished else span.end + ABORT_DELAY

    def _prefill_steps(self, prompt: float) -> int:
        return max(1, math.ceil(prompt / self._budget))

    def _streamed(self, span: Span) -> Placed:
        counts, stream = self._streams[span.id]
        end = self._end(span)
        if not self._clock.speculative and (stream.lumpiness or 1.0) >= 1.15:
            return self._lumpy_stream(span, counts, stream, end)
        first = float(stream.times[0])
        start = self._start_before(span, first, counts)
        if span.finished:
            end = min(end, float(stream.times[-1]) + LATE_CHUNK)
        prompt, start = self._uncached(span, counts, start, first)
        if span.finished and counts.prompt > CACHED_PROMPT:
            self._habits.learn_cache(span, hidden=prompt < counts.prompt)
        sizes = span.chunks()[1]
        share = sizes / sizes[-1] if sizes[-1] > 0 else np.arange(1, len(sizes) + 1) / len(sizes)
        factor = 1.0 if self._clock.speculative else pace(stream)
        return Placed(
            span=span,
            start=start,
            prefilled=first,
            end=end,
            prompt=prompt,
            context=counts.context,
            prefill_steps=self._prefill_steps(prompt),
            times=stream.times,
            tokens=share * max(counts.out, 1.0),
            steps=np.arange(len(sizes), dtype=np.float64) * factor,
            guessed=counts.guessed_prompt,
            doubtful=counts.guessed_prompt or counts.guessed_out,
            hidden_cache=self._habits.hides_cache,
        )

    def _start_before(self, span: Span, prefilled: float, counts: Counts) -> float:
        """Give the start of a prefill that ended at a step end that was seen, and claim that step."""
        reported = reported_phase(span, "prefill")
        if reported is not None:
            return max(span.start, prefilled - max(reported, SHORTEST))
        clock = self._clock
        steps = self._prefill_steps(counts.prompt)
        place = clock.first_end(prefilled - 0.6 * clock.step)
        self._claimed.add(place)
        if steps == 1 and 0 < place <= len(clock.ends):
            start = clock.ends[place - 1]
            if place < len(clock.ends) and span.start < start:
                self._learn_tau(span, counts.prompt, prefilled - start)
        else:
            start = clock.back(prefilled, steps)
        return max(span.start, min(start, prefilled - SHORTEST))

    def _learn_tau(self, span: Span, prompt: float, took: float) -> None:
        if 500 < prompt <= 1900 and span.closed is not None and span.prompt_tokens and not span.cached_tokens:
            self._habits.learn_prefill(span, (took - self._clock.step) / prompt)

    def _uncached(self, span: Span, counts: Counts, start: float, prefilled: float) -> tuple[float, float]:
        """Give the tokens that were computed and when that began.

        A prefill that went far too fast found a cached prefix, unless it had begun in the step before: the
        budget of a step is shared with all who decode or prefill in it.
        """
        if reported_phase(span, "prefill") is not None or counts.prompt <= CACHED_PROMPT:
            return counts.prompt, start
        steps = self._prefill_steps(counts.prompt)
        seen = self._seen(start, prefilled, steps)
        if seen is None or seen >= CACHED_SEEN * counts.prompt:
            return counts.prompt, start
        earlier = self._step_before(span, start)
        longer = None if earlier is None else self._seen(earlier, prefilled, steps + 1)
        if earlier is not None and longer is not None and longer >= CACHED_SEEN * counts.prompt:
            return counts.prompt, earlier
        return max(16.0, seen), start

    def _seen(self, start: float, prefilled: float, steps: int) -> float | None:
        """Give the tokens that can have been prefilled over a time of so many steps."""
        tau = self._habits.tau
        return None if tau is None else (prefilled - start - 0.7 * steps * self._clock.step) / tau

    def _step_before(self, span: Span, start: float) -> float | None:
        """Give the start of the step before, if it was a long one and the request was there."""
        ends = self._clock.ends
        place = self._clock.first_end(start - 0.4 * self._clock.step)
        if not 0 < place < len(ends) or span.start >= ends[place] - SHORTEST:
            return None
        long = ends[place] - ends[place - 1] > 1.5 * self._clock.step
        return max(span.start, ends[place - 1]) if long else None

    def _lumpy_stream(self, span: Span, counts: Counts, stream: Stream, end: float) -> Placed:
        """Place a stream whose chunks were coalesced on their way: the clock knows better than they do."""
        clock = self._clock
        sizes = float(span.chunks()[1][-1])
        ahead = counts.out * span.sizes[0] / sizes if sizes else 1.0
        first = float(stream.times[0])
        prefilled = max(
            span.start + SHORTEST, clock.when(clock.at(first) - max(ahead - 1, 0) / clock.per_step)
        )
        prefilled = min(prefilled, first)
        start = self._start_before(span, prefilled, counts)
        decode = max(counts.out - 1, 1)
        end = max(prefilled, min(end, clock.when(clock.at(prefilled) + decode)))
        return self._ridden(span, counts, start, prefilled, end, decode)

    def _whole(self, span: Span) -> Placed:
        counts = count(span, self._habits)
        end = max(self._end(span), span.start + SHORTEST)
        if span.end is None:
            return self._running(span, counts, end)
        if span.streamed and not span.finished:
            return self._unanswered(span, counts, end)
        if not span.finished or (counts.guessed_out and not span.response_bytes):
            counts = self._cut_short(span, counts, end)
        steps = max(round(counts.out / self._clock.per_step) - 1, 0)
        prefilled = self._prefill_end(span, counts, end, steps)
        return self._ridden(span, counts, self._start_of(span, counts, prefilled), prefilled, end, steps)

    def _prefill_end(self, span: Span, counts: Counts, end: float, steps: int) -> float:
        decode = reported_phase(span, "decode")
        if decode is not None:
            return min(max(end - decode, span.start + SHORTEST), end)
        prefilled = self._clock.when(self._clock.at(end) - steps)
        if counts.prompt > SNAP_PROMPT:
            prefilled = self._snap(span, prefilled, end)
        return min(max(prefilled, span.start + SHORTEST), end)

    def _start_of(self, span: Span, counts: Counts, prefilled: float) -> float:
        reported = reported_phase(span, "prefill")
        line = self._habits.latency.line()
        if reported is not None:
            begun = prefilled - reported
        elif self._clock.ends or line is None:
            begun = self._clock.back(prefilled, self._prefill_steps(counts.prompt))
        else:
            begun = prefilled - self._clock.step - line[1] * counts.prompt
        return max(span.start, min(begun, prefilled - SHORTEST))

    def _snap(self, span: Span, guess: float, end: float) -> float:
        """Move a guessed prefill to the long step near it that no stream explains."""
        clock = self._clock
        reach = max(0.020, 0.04 * (end - guess)) + 2 * clock.step
        best, best_score = None, -math.inf
        for place in range(max(clock.first_end(guess - reach), 1), len(clock.ends)):
            t = clock.ends[place]
            if t > guess + reach:
                break
            length = t - clock.ends[place - 1]
            score = length - 0.15 * abs(t - guess)
            fits = 1.7 * clock.step < length < 0.6 and span.start <= t <= end
            if fits and place not in self._claimed and score > best_score:
                best, best_score = place, score
        if best is None:
            return guess
        self._claimed.add(best)
        return clock.ends[best]

    def _running(self, span: Span, counts: Counts, end: float) -> Placed:
        """Place a request that still runs and has shown nothing: it decodes since its prefill."""
        steps = self._prefill_steps(counts.prompt)
        took = steps * self._clock.step + counts.prompt * (self._habits.tau or 0.0)
        prefilled = min(max(span.start + took, span.start + SHORTEST), end)
        decode = max(self._clock.at(end) - self._clock.at(prefilled), 0.0)
        limit = span.opened.asked.max_tokens or math.inf
        known = replace(counts, out=min(decode * self._clock.per_step, limit))
        placed = self._ridden(span, known, span.start, prefilled, end, decode)
        placed.unsure = True
        return placed

    def _unanswered(self, span: Span, counts: Counts, end: float) -> Placed:
        steps = self._prefill_steps(counts.prompt)
        start = max(span.start, min(self._clock.back(end, steps), end - SHORTEST))
        known = replace(counts, prompt=max(1.0, counts.prompt / 2), out=0.0)
        return self._ridden(span, known, start, end, end, 0.0)

    def _cut_short(self, span: Span, counts: Counts, end: float) -> Counts:
        """Give the tokens of an answer that nobody saw: it decoded in all steps that its prefill left."""
        clock = self._clock
        steps = clock.at(end) - clock.at(span.start) - self._prefill_steps(counts.prompt)
        limit = span.opened.asked.max_tokens or math.inf
        return replace(counts, out=float(min(max(steps * clock.per_step, 0.0), limit)))

    def _ridden(
        self, span: Span, counts: Counts, start: float, prefilled: float, end: float, steps: float
    ) -> Placed:
        """Place a request whose decoding shows only at its ends: tokens run evenly between them."""
        out = max(counts.out, 0.0)
        times, done = self._clock.curve(prefilled, max(end, prefilled))
        return Placed(
            span=span,
            start=start,
            prefilled=prefilled,
            end=end,
            prompt=counts.prompt,
            context=counts.context,
            prefill_steps=self._prefill_steps(counts.prompt),
            times=times,
            tokens=min(1.0, out) + done * max(out - 1.0, 0.0),
            steps=done * (max(steps, 1.0) if end > prefilled else 0.0),
            guessed=counts.guessed_prompt,
            doubtful=True,
            hidden_cache=self._habits.hides_cache,
        )
