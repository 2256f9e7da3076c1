"""One robust step clock per engine, from whatever its requests show.

Clean streams tick for all. Where none runs, streams whose chunks were coalesced and answers in one piece
still tell how many steps passed between two instants.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from joulegate.attribution.counts import CHUNK_DELAY, Counts
from joulegate.attribution.habits import Habits
from joulegate.attribution.latency import Decoding, pace
from joulegate.attribution.spans import Span
from joulegate.attribution.stepclock import CLEAN, Pace, StepClock, Stream, tokens_per_step

MOST_PER_TOKEN = 2e-4
"""s: a prompt token that seems to take longer waited in a queue."""
MOST_CONSTANT = 0.05
"""s of an answer that depend neither on its prompt nor on its length; more is queue."""
LEAST_STEPS = 5


def clock_of(
    spans: Sequence[Span],
    known: Mapping[str, tuple[Counts, Stream]],
    habits: Habits,
    start: float,
    end: float,
) -> StepClock:
    """Give the step clock over a stretch of time, and keep its usual step as a habit."""
    streams = [stream for _, stream in known.values()]
    per_step = tokens_per_step(streams)
    lumps = _lumps(spans, known) if per_step == 1.0 else []
    decodings = [*lumps, *_whole_answers(spans, habits, per_step)]
    silent: Pace | None = (lambda edges, usual: pace(decodings, edges, usual)) if decodings else None
    clock = StepClock(streams, start, end, habits.step or _usual_step(habits, lumps, per_step), silent)
    if clock.learned:
        habits.step = clock.step
    return clock


def _usual_step(habits: Habits, lumps: Sequence[Decoding], per_step: float) -> float | None:
    if lumps:
        return float(np.median([(one.end - one.start) / one.steps for one in lumps]))
    line = habits.latency.line()
    return line[0] * per_step if line is not None and line[0] > 0 else None


def _lumps(spans: Sequence[Span], known: Mapping[str, tuple[Counts, Stream]]) -> list[Decoding]:
    """Give the decoding of streams whose chunks hold many tokens: all but the first chunk's."""
    found = []
    for span in spans:
        counts, stream = known.get(span.id, (None, None))
        if counts is None or stream is None or len(span.times) < 2 or (stream.lumpiness or 0) < CLEAN:
            continue
        first, last = span.times[0] - CHUNK_DELAY, span.times[-1] - CHUNK_DELAY
        steps = counts.out * (1 - span.sizes[0] / max(sum(span.sizes), 1))
        if steps >= LEAST_STEPS and last > first:
            found.append(Decoding(first, last, steps))
    return found


def _whole_answers(spans: Sequence[Span], habits: Habits, per_step: float) -> list[Decoding]:
    """Give the decoding of answers in one piece as their latencies suggest, once enough were seen."""
    line = habits.latency.line()
    if line is None:
        return []
    per_token = min(line[1], MOST_PER_TOKEN) if habits.tau is None else habits.tau
    found = []
    for span in spans:
        out = span.completion_tokens or 0
        if span.times or not span.finished or span.end is None or out < 2:
            continue
        start = span.start + per_token * (span.prompt_tokens or 0) + min(line[2], MOST_CONSTANT)
        found.append(Decoding(min(start, span.end), span.end, (out - 1) / per_step))
    return found
