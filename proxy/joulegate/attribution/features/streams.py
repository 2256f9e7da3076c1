"""Where the work of streams lies in time, as their chunks show it."""

import numpy as np
from msgspec import Struct

from joulegate.attribution.features.counts import CHUNK_DELAY_S, Answers, Counts
from joulegate.attribution.features.placed_work import (
    NO_CURVES,
    SHORTEST_PREFILL_S,
    Curves,
    PlacedWork,
    prefill_steps,
)
from joulegate.attribution.features.priors import Priors
from joulegate.attribution.features.step_clock import StepClock, Streams
from joulegate.attribution.input.request import RequestInput
from joulegate.attribution.input.rows import FINISHED, Table, marked
from joulegate.attribution.maths.arrays import Bools, Floats, Ints, Seconds

LATE_CHUNK_S = 0.001
"""Seconds from the last step to the last chunk, at most."""
LUMPY = 1.15
"""Tokens a chunk from which the clock knows better than the chunks."""
CACHED_PROMPT = 400
CACHED_SEEN = 0.55


class StreamPlacer:
    """Places the streams of one engine. Steps in which they were prefilled are put into ``claimed``."""

    def __init__(self, clock: StepClock, priors: Priors, budget: int, claimed: set[int]) -> None:
        self._clock = clock
        self._priors = priors
        self._budget = budget
        self._claimed = claimed

    def place(self, answers: Answers, ends: Floats) -> list[PlacedWork]:
        """Return the streams placed by their own chunks, and those placed by the clock.

        ``ends`` are when the work of each request ended, in s.
        """
        lumpy = (answers.streams.lumpiness >= LUMPY) & (not self._clock.speculative)
        return [self._clean(_some(answers, ends, ~lumpy)), self._lumpy(_some(answers, ends, lumpy))]

    def _clean(self, some: "Some") -> PlacedWork:
        """Place streams by their chunks."""
        counts, streams = some.counts, some.streams
        first = np.array([request.first for request in some.requests], dtype=np.float64) - CHUNK_DELAY_S
        finished = marked(some.rows, FINISHED)
        prompt, start = self._uncached(some, self._starts(some, first), first)
        long = np.flatnonzero(finished & (counts.prompt > CACHED_PROMPT)).tolist()
        hidden = (prompt < counts.prompt).tolist()
        for place in long:
            self._priors.learn_cache(some.requests[place], hidden=hidden[place])
        return self._placed(
            some,
            start=start,
            prefilled=first,
            end=np.where(finished, np.minimum(some.ends, streams.last + LATE_CHUNK_S), some.ends),
            prompt=prompt,
            steps=np.zeros(len(prompt)),
            doubtful=counts.guessed_prompt | counts.guessed_out,
            curves=self._curves(some),
        )

    def _curves(self, some: "Some") -> Curves:
        """Return the decoding of streams: tokens by the content bytes, steps by the chunks."""
        streams = some.streams
        kept, nth = (
            streams.kept,
            np.add(streams.nth(), np.repeat(streams.before, streams.kept), dtype=np.float64),
        )
        sizes = np.frombuffer(b"".join([request.sizes for request in some.requests]), dtype=np.uint32)
        total = np.add.accumulate(sizes, dtype=np.float64)
        gone = np.array([request.gone_bytes for request in some.requests], dtype=np.float64)
        places = streams.places
        content = total + np.repeat(gone - (total[places] - sizes[places]), kept)
        whole = content[places + kept - 1]
        sized = np.repeat(whole > 0, kept)
        share = np.where(sized, content, nth) / np.repeat(np.where(whole > 0, whole, streams.chunks), kept)
        pace = np.ones(len(streams)) if self._clock.speculative else streams.pace
        tokens = share * np.repeat(np.maximum(some.counts.out, 1.0), kept)
        return Curves(streams.times, tokens, nth * np.repeat(pace, kept), kept)

    def _lumpy(self, some: "Some") -> PlacedWork:
        """Place streams whose chunks were coalesced on their way: the clock knows better than they do."""
        clock, out, first = self._clock, some.counts.out, some.streams.first
        early = np.array(
            [(request.gone_bytes + request.sizes[0]) / max(request.seen, 1) for request in some.requests]
        )
        seen = np.array([request.seen > 0 for request in some.requests], dtype=bool)
        ahead = np.where(seen, out * early, 1.0)
        earlier = clock.at(first) - np.maximum(ahead - 1, 0) / clock.per_step
        prefilled = np.minimum(
            np.maximum(some.rows["start"] + SHORTEST_PREFILL_S, clock.when(earlier)), first
        )
        decode = np.maximum(out - 1, 1)
        last = clock.when(clock.at(prefilled) + decode)
        return self._placed(
            some,
            start=self._starts(some, prefilled),
            prefilled=prefilled,
            end=np.maximum(prefilled, np.minimum(some.ends, last)),
            prompt=some.counts.prompt,
            steps=decode,
            doubtful=np.ones(len(decode), dtype=bool),
            curves=NO_CURVES,
        )

    def _placed(
        self, some: "Some", *, start: Floats, prefilled: Floats, end: Floats, prompt: Floats, steps: Floats,
        doubtful: Bools, curves: Curves,
    ) -> PlacedWork:  # fmt: skip
        return PlacedWork(
            requests=some.requests,
            start=start,
            prefilled=prefilled,
            end=end,
            prompt=prompt,
            context=some.counts.context,
            prefill_steps=prefill_steps(prompt, self._budget),
            out=some.counts.out,
            steps=steps,
            guessed=some.counts.guessed_prompt,
            doubtful=doubtful,
            unsure=np.zeros(len(prompt), dtype=bool),
            clock=self._clock,
            curves=curves,
            hidden_cache=self._priors.hides_cache,
        )

    def _starts(self, some: "Some", prefilled: Floats) -> Floats:
        """Return the starts of prefills that ended at step ends that were seen, and claim those steps."""
        clock, arrived, reported = self._clock, some.rows["start"], some.rows["prefill"]
        took = np.where(
            np.isnan(reported), max(clock.step, SHORTEST_PREFILL_S), np.maximum(reported, SHORTEST_PREFILL_S)
        )
        start: Floats = np.maximum(arrived, prefilled - took)
        if not clock.ends:
            return start
        ends = np.array(clock.ends)
        # the rest is long before what is looked at
        seen = np.flatnonzero(np.isnan(reported) & (prefilled >= ends[0] - clock.step))
        prefilled, arrived = prefilled[seen], arrived[seen]
        place = np.searchsorted(ends, prefilled - 0.6 * clock.step)
        self._claimed.update(place.tolist())
        steps = prefill_steps(some.counts.prompt[seen], self._budget)
        single = (steps == 1) & (place > 0)
        before = ends[np.maximum(place - 1, 0)]
        self._learn_tau(some, seen, prefilled - before, single & (place < len(ends)) & (arrived < before))
        begun = np.where(single, before, clock.back(prefilled, steps))
        start[seen] = np.maximum(arrived, np.minimum(begun, prefilled - SHORTEST_PREFILL_S))
        return start

    def _learn_tau(self, some: "Some", seen: Ints, took: Floats, chosen: Bools) -> None:
        """Learn from middling prompts what a token takes; ``took`` and ``chosen`` are by ``seen``."""
        rows, prompt = some.rows[seen], some.counts.prompt[seen]
        chosen = chosen & (prompt > 500) & (prompt <= 1900) & np.isfinite(rows["end"])
        chosen &= (rows["prompt"] > 0) & (rows["cached"] == 0)
        each = (took - self._clock.step) / prompt
        for place in np.flatnonzero(chosen).tolist():
            self._priors.learn_prefill(some.requests[int(seen[place])], float(each[place]))

    def _uncached(self, some: "Some", start: Floats, prefilled: Floats) -> tuple[Floats, Floats]:
        """Return the tokens that were computed and when that began.

        A prefill that went far too fast found a cached prefix, unless it had begun in the step before: the
        budget of a step is shared with all who decode or prefill in it.
        """
        prompt, tau, step = some.counts.prompt.copy(), self._priors.tau, self._clock.step
        if tau is None:
            return prompt, start
        steps = prefill_steps(prompt, self._budget)
        seen = (prefilled - start - 0.7 * steps * step) / tau
        fast = np.isnan(some.rows["prefill"]) & (prompt > CACHED_PROMPT) & (seen < CACHED_SEEN * prompt)
        for place in np.flatnonzero(fast).tolist():
            earlier = self._step_before(float(some.rows["start"][place]), float(start[place]))
            longer = (prefilled[place] - (earlier or 0.0) - 0.7 * (steps[place] + 1) * step) / tau
            if earlier is not None and longer >= CACHED_SEEN * prompt[place]:
                start[place] = earlier
            else:
                prompt[place] = max(16.0, float(seen[place]))
        return prompt, start

    def _step_before(self, arrived: Seconds, start: Seconds) -> Seconds | None:
        """Return the start of the step before, if it was a long one and the request was there."""
        ends = self._clock.ends
        place = self._clock.first_end(start - 0.4 * self._clock.step)
        if not 0 < place < len(ends) or arrived >= ends[place] - SHORTEST_PREFILL_S:
            return None
        long = ends[place] - ends[place - 1] > 1.5 * self._clock.step
        return max(arrived, ends[place - 1]) if long else None


class Some(Struct, frozen=True):
    """Some of the streams, a place for each of them in every column."""

    requests: list[RequestInput]
    rows: Table
    counts: Counts
    streams: Streams
    ends: Floats
    """When the work of each ended, in s."""


def _some(answers: Answers, ends: Floats, chosen: Bools) -> Some:
    """Return the chosen streams."""
    places = answers.streaming[chosen]
    requests = [answers.requests[place] for place in places.tolist()]
    return Some(
        requests, answers.rows[places], answers.counts.of(places), answers.streams.of(chosen), ends[places]
    )
