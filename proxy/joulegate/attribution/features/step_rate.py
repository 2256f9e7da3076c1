"""One robust step clock per engine, from whatever its requests show.

Clean streams tick for all. Where none runs, streams whose chunks were coalesced and answers in one piece
still show how many steps passed between two instants.
"""

import numpy as np

from joulegate.attribution.features.counts import Answers
from joulegate.attribution.features.priors import Priors
from joulegate.attribution.features.step_clock import CLEAN, Pace, StepClock, tokens_per_step
from joulegate.attribution.input.rows import CHUNKED, FINISHED, marked
from joulegate.attribution.maths.arrays import Seconds
from joulegate.attribution.maths.latency import Decodings, pace

MOST_PER_TOKEN_S = 2e-4
"""A prompt token that seems to take longer waited in a queue."""
MOST_CONSTANT_S = 0.05
"""Seconds of an answer that depend neither on its prompt nor on its length; more is queue."""
LEAST_STEPS = 5


def clock_of(answers: Answers, priors: Priors, start: Seconds, end: Seconds) -> StepClock:
    """Return the step clock over a stretch of time, and record its usual step in the priors."""
    streams = answers.streams
    per_step = tokens_per_step(streams)
    lumps = _lumps(answers) if per_step == 1.0 else Decodings.none()
    decodings = lumps.and_(_whole_answers(answers, priors, per_step))
    silent: Pace | None = (lambda edges, usual: pace(decodings, edges, usual)) if len(decodings) else None
    clock = StepClock(streams, start, end, priors.step or _usual_step(priors, lumps, per_step), silent)
    if clock.learned:
        priors.learn_step(clock.step)
    return clock


def _usual_step(priors: Priors, lumps: Decodings, per_step: float) -> Seconds | None:
    if len(lumps):
        return float(np.median((lumps.end - lumps.start) / lumps.steps))
    line = priors.latency.line()
    return line[0] * per_step if line is not None and line[0] > 0 else None


def _lumps(answers: Answers) -> Decodings:
    """Return the decoding of streams whose chunks hold many tokens: all but the first chunk's."""
    streams, found = answers.streams, []
    outs, firsts, lasts = answers.counts.out[answers.streaming], streams.first, streams.last
    for place in np.flatnonzero((streams.lumpiness >= CLEAN) & (streams.kept > 1)).tolist():
        request, first, last = answers.streamed[place], float(firsts[place]), float(lasts[place])
        steps = float(outs[place]) * (1 - (request.gone_bytes + request.sizes[0]) / max(request.seen, 1))
        if steps >= LEAST_STEPS and last > first:
            found.append((first, last, steps))
    return Decodings(*np.array(found).reshape(-1, 3).T)


def _whole_answers(answers: Answers, priors: Priors, per_step: float) -> Decodings:
    """Return the decoding of answers in one piece as their latencies suggest, once enough were seen."""
    line = priors.latency.line()
    if line is None:
        return Decodings.none()
    per_token = min(line[1], MOST_PER_TOKEN_S) if priors.tau is None else priors.tau
    rows = answers.rows
    rows = rows[~marked(rows, CHUNKED) & marked(rows, FINISHED) & (rows["out"] >= 2)]
    prefill = per_token * np.nan_to_num(rows["prompt"]) + min(line[2], MOST_CONSTANT_S)
    start = np.minimum(rows["start"] + prefill, rows["end"])
    return Decodings(start, rows["end"], (rows["out"] - 1) / per_step)
