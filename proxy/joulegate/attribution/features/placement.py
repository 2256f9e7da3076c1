"""Where the work of text requests lies in time: their prefill and their decoding.

Time before the service starts is queue and costs nothing. What the server itself reports of its timing
is taken instead of any inference from chunks.
"""

import math
from collections.abc import Sequence

import numpy as np
from msgspec.structs import replace

from joulegate.attribution.features.counts import Answers, Counts, encodes
from joulegate.attribution.features.placed_work import SHORTEST_PREFILL_S, PlacedWork, joined, prefill_steps
from joulegate.attribution.features.priors import Priors
from joulegate.attribution.features.step_clock import StepClock
from joulegate.attribution.features.streams import StreamPlacer
from joulegate.attribution.input.request import RequestInput
from joulegate.attribution.input.rows import CHUNKED, FINISHED, STREAMED, Table, marked
from joulegate.attribution.maths.arrays import Bools, Floats, Ints, Seconds

END_DELAY_S = 0.003
"""Seconds from the last step to the end of the answer."""
ABORT_DELAY_S = 0.020
"""Seconds until an engine notices that its client has left."""
STEP_TOKENS = 2048
"""Tokens that an engine prefills in one step, unless known."""
SNAP_PROMPT = 300
"""Tokens: the prefill of a shorter prompt leaves no long step to be found by."""
LEAVE_TOGETHER_S = 0.0016
"""Answers of one dynamic batch leave within this time."""


class Placer:
    """Places the text requests of one engine by its step clock."""

    def __init__(self, clock: StepClock, priors: Priors, now: Seconds, *, budget: int = STEP_TOKENS) -> None:
        self._clock = clock
        self._priors = priors
        self._now = now
        self._budget = budget
        self._claimed: set[int] = set()

    def place(self, answers: Answers) -> PlacedWork:
        """Place all of them: streamed ones first, for they claim the steps in which they were prefilled."""
        ends = self._ends(answers.rows)
        chunked = marked(answers.rows, CHUNKED)
        order = np.lexsort((answers.rows["place"], ends))
        others = order[~chunked[order]]
        encoded = encodes(answers.rows[others])
        return joined(
            [
                *StreamPlacer(self._clock, self._priors, self._budget, self._claimed).place(answers, ends),
                self._encoded(answers, others[encoded], ends),
                self._whole(answers, others[~encoded], ends),
            ]
        )

    def _ends(self, rows: Table) -> Floats:
        ended = np.where(marked(rows, FINISHED), rows["end"] - END_DELAY_S, rows["end"] + ABORT_DELAY_S)
        return np.where(np.isinf(rows["end"]), self._now, ended)

    # --- requests without any decoding

    def _encoded(self, answers: Answers, places: Ints, ends: Floats) -> PlacedWork:
        """Place requests without any decoding: batches that leave together, one after the other."""
        rows, counts = answers.rows[places], answers.counts.of(places)
        start, end = self._batches(rows["start"].tolist(), ends[places].tolist())
        begun = np.where(
            np.isnan(rows["prefill"]), start, end - np.maximum(rows["prefill"], SHORTEST_PREFILL_S)
        )
        nothing = np.zeros(len(places))
        return self._ridden(
            [answers.requests[place] for place in places.tolist()],
            counts,
            start=np.maximum(begun, rows["start"]),
            prefilled=end,
            end=end,
            steps=nothing,
            doubtful=counts.guessed_prompt,
            unsure=np.zeros(len(places), dtype=bool),
        )

    def _batches(self, arrived: Sequence[float], ends: Sequence[float]) -> tuple[Floats, Floats]:
        """Return when the batch of each request ran; ends are in order."""
        start, end = np.empty(len(ends)), np.empty(len(ends))
        free, low = -math.inf, 0
        while low < len(ends):
            high = low + 1
            while high < len(ends) and ends[high] - ends[low] <= LEAVE_TOGETHER_S:
                high += 1
            end[low:high] = ends[low]
            start[low:high] = min(max(free, *arrived[low:high]), ends[low] - SHORTEST_PREFILL_S)
            free, low = ends[low], high
        return start, end

    # --- answers in one piece, and what has not answered

    def _whole(self, answers: Answers, places: Ints, ends: Floats) -> PlacedWork:
        rows, counts = answers.rows[places], answers.counts.of(places)
        end = np.maximum(ends[places], rows["start"] + SHORTEST_PREFILL_S)
        running = np.isinf(rows["end"])
        finished = marked(rows, FINISHED)
        silent = ~running & marked(rows, STREAMED) & ~finished
        cut = ~running & ~silent & (~finished | (counts.guessed_out & (rows["response"] <= 0)))
        counts = self._cut_short(rows, counts, end, cut)
        steps = np.maximum(np.rint(counts.out / self._clock.per_step) - 1, 0.0)
        prefilled = self._prefill_ends(rows, counts, end, steps, snaps=~running & ~silent)
        start = self._starts(rows, counts, prefilled)
        if running.any():
            begun, decode, out = self._running(rows, counts, end)
            start, prefilled = np.where(running, rows["start"], start), np.where(running, begun, prefilled)
            steps, counts = np.where(running, decode, steps), _with(counts, running, out=out)
        if silent.any():
            start = np.where(silent, self._unanswered(rows, counts, end), start)
            prefilled, steps = np.where(silent, end, prefilled), np.where(silent, 0.0, steps)
            counts = _with(counts, silent, out=np.zeros(len(end)), prompt=np.maximum(counts.prompt / 2, 1.0))
        return self._ridden(
            [answers.requests[place] for place in places.tolist()],
            counts,
            start=start,
            prefilled=prefilled,
            end=end,
            steps=steps,
            doubtful=np.ones(len(end), dtype=bool),
            unsure=running,
        )

    def _cut_short(self, rows: Table, counts: Counts, end: Floats, cut: Bools) -> Counts:
        """Return the tokens of answers cut short: they decoded in all steps that their prefill left."""
        if not cut.any():
            return counts
        clock = self._clock
        steps = clock.at(end) - clock.at(rows["start"]) - prefill_steps(counts.prompt, self._budget)
        return _with(counts, cut, out=np.minimum(np.maximum(steps * clock.per_step, 0.0), rows["limit"]))

    def _prefill_ends(
        self, rows: Table, counts: Counts, end: Floats, steps: Floats, *, snaps: Bools
    ) -> Floats:
        reported = ~np.isnan(rows["decode"])
        prefilled = np.where(reported, end - rows["decode"], self._clock.when(self._clock.at(end) - steps))
        if self._clock.ends:
            for place in np.flatnonzero(snaps & ~reported & (counts.prompt > SNAP_PROMPT)).tolist():
                prefilled[place] = self._snap(
                    float(rows["start"][place]), float(prefilled[place]), float(end[place])
                )
        return np.minimum(np.maximum(prefilled, rows["start"] + SHORTEST_PREFILL_S), end)

    def _starts(self, rows: Table, counts: Counts, prefilled: Floats) -> Floats:
        line = self._priors.latency.line()
        if self._clock.ends or line is None:
            begun = self._clock.back(prefilled, prefill_steps(counts.prompt, self._budget))
        else:
            begun = prefilled - self._clock.step - line[1] * counts.prompt
        begun = np.where(np.isnan(rows["prefill"]), begun, prefilled - rows["prefill"])
        starts: Floats = np.maximum(rows["start"], np.minimum(begun, prefilled - SHORTEST_PREFILL_S))
        return starts

    def _snap(self, start: Seconds, guess: float, end: Seconds) -> float:
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
            fits = 1.7 * clock.step < length < 0.6 and start <= t <= end
            if fits and place not in self._claimed and score > best_score:
                best, best_score = place, score
        if best is None:
            return guess
        self._claimed.add(best)
        return clock.ends[best]

    def _running(self, rows: Table, counts: Counts, end: Floats) -> tuple[Floats, Floats, Floats]:
        """Return end of prefill, steps and tokens of requests that still run and have shown nothing."""
        took = prefill_steps(counts.prompt, self._budget) * self._clock.step + counts.prompt * (
            self._priors.tau or 0.0
        )
        prefilled = np.minimum(rows["start"] + np.maximum(took, SHORTEST_PREFILL_S), end)
        decode = np.maximum(self._clock.at(end) - self._clock.at(prefilled), 0.0)
        return prefilled, decode, np.minimum(decode * self._clock.per_step, rows["limit"])

    def _unanswered(self, rows: Table, counts: Counts, end: Floats) -> Floats:
        """Return the starts of prefills during which the client left."""
        begun = self._clock.back(end, prefill_steps(counts.prompt, self._budget))
        starts: Floats = np.maximum(rows["start"], np.minimum(begun, end - SHORTEST_PREFILL_S))
        return starts

    def _ridden(
        self, requests: list[RequestInput], counts: Counts, *, start: Floats, prefilled: Floats, end: Floats,
        steps: Floats, doubtful: Bools, unsure: Bools,
    ) -> PlacedWork:  # fmt: skip
        """Place requests whose decoding shows only at its ends: tokens run evenly between them."""
        return PlacedWork(
            requests=requests,
            start=start,
            prefilled=prefilled,
            end=end,
            prompt=counts.prompt,
            context=counts.context,
            prefill_steps=prefill_steps(counts.prompt, self._budget),
            out=np.maximum(counts.out, 0.0),
            steps=np.where(end > prefilled, np.maximum(steps, 1.0), 0.0),
            guessed=counts.guessed_prompt,
            doubtful=doubtful,
            unsure=unsure,
            clock=self._clock,
            hidden_cache=self._priors.hides_cache,
        )


def _with(counts: Counts, chosen: Bools, **columns: Floats) -> Counts:
    """Return the counts with other values for the chosen requests."""
    new = {name: np.where(chosen, values, getattr(counts, name)) for name, values in columns.items()}
    return replace(counts, **new)
