"""What is known, or must be guessed, of one text request: its tokens, its chunks, its server's word."""

import math

from msgspec import Struct

from joulegate.attribution.habits import Habits
from joulegate.attribution.spans import Span
from joulegate.attribution.stepclock import Stream
from joulegate.units import NANO

CHUNK_DELAY = 0.0022
"""s from the end of a step to the arrival of its chunk (loopback and one event loop)."""
FASTEST_PREFILL = 2e-6
"""s a token: no engine is faster, so a prompt that would have been was not computed."""


class Counts(Struct, frozen=True):
    """The tokens of one request, reported or estimated."""

    prompt: float
    context: float
    out: float
    guessed_prompt: bool
    guessed_out: bool


def count(span: Span, habits: Habits) -> Counts:
    """Give the tokens of a request as far as they are known now."""
    reported = span.prompt_tokens
    context = float(reported) if reported else habits.prompt(span.opened.body_bytes)
    reported_out = span.completion_tokens
    out = float(reported_out) if reported_out is not None else habits.tokens(span.response_bytes)
    ceiling = _token_ceiling(span)
    took = math.inf if span.end is None else span.end - span.start
    return Counts(
        prompt=max(1.0, min(context - span.cached_tokens, took / FASTEST_PREFILL)),
        context=context,
        out=min(out, ceiling),
        guessed_prompt=not reported,
        guessed_out=reported_out is None,
    )


def stream_of(span: Span, out: float, *, known: bool) -> Stream:
    """Give the chunks of a streamed request as the step clock takes them."""
    return Stream(span.chunks()[0] - CHUNK_DELAY, out if known else None)


def encodes(span: Span) -> bool:
    """Say whether a request is its prefill and nothing else: embeddings, classification, rerank."""
    return span.closed is not None and span.completion_tokens == 0 and bool(span.prompt_tokens)


def reported_phase(span: Span, phase: str) -> float | None:
    """Give what the server says a phase of the request took, in s."""
    if span.closed is None:
        return None
    timings = span.closed.timings
    took = timings.prefill if phase == "prefill" else timings.decode
    return None if took is None or took < 0 else took / NANO


def _token_ceiling(span: Span) -> float:
    """Give more tokens than the answer can have: what lies beyond is a lie that must not poison a fit."""
    asked = span.opened.asked.max_tokens or 0
    took = (span.end - span.start) if span.end is not None else math.inf
    return max(float(span.response_bytes), float(asked), 5_000.0 * took, 1.0)
