"""What is known, or must be guessed, of text requests: their tokens, their chunks, their server's word."""

from collections.abc import Sequence

import numpy as np
from msgspec import Struct

from joulegate.attribution.features.priors import Priors
from joulegate.attribution.features.step_clock import Streams
from joulegate.attribution.input.request import RequestInput
from joulegate.attribution.input.rows import CHUNKED, ENCODES, Table, marked, table
from joulegate.attribution.maths.arrays import Bools, Floats, Ints

CHUNK_DELAY_S = 0.0022
"""Seconds from the end of a step to the arrival of its chunk (loopback and one event loop)."""
FASTEST_PREFILL_S = 2e-6
"""A token: no engine is faster, so a prompt that would have been was not computed."""


class Counts(Struct, frozen=True):
    """The tokens of requests, reported or estimated."""

    prompt: Floats
    context: Floats
    out: Floats
    guessed_prompt: Bools
    guessed_out: Bools

    def of(self, places: Ints) -> "Counts":
        """Return those at some places."""
        return Counts(
            self.prompt[places],
            self.context[places],
            self.out[places],
            self.guessed_prompt[places],
            self.guessed_out[places],
        )


class Answers:
    """The text requests of one engine that are looked at together."""

    def __init__(self, spans: Sequence[RequestInput], priors: Priors) -> None:
        self.spans = spans
        self.rows = table(spans)
        self.counts = count(self.rows, priors)
        self.streaming = np.flatnonzero(marked(self.rows, CHUNKED))
        """Places of those that stream."""
        self.streamed = [spans[place] for place in self.streaming.tolist()]
        """Those themselves."""
        told = self.counts.of(self.streaming)
        self.streams = Streams(
            np.frombuffer(b"".join([span.times for span in self.streamed])) - CHUNK_DELAY_S,
            np.array([len(span.times) for span in self.streamed], dtype=np.int64),
            np.where(told.guessed_out, np.nan, told.out),
            np.array([span.gone for span in self.streamed], dtype=np.int64),
        )
        """Their chunks."""


def count(rows: Table, priors: Priors) -> Counts:
    """Return the tokens of requests as far as they are known now."""
    guessed_prompt = ~(rows["prompt"] > 0)
    context = np.where(guessed_prompt, priors.prompts(rows["body"]), rows["prompt"])
    guessed_out = np.isnan(rows["out"])
    out = np.where(guessed_out, rows["response"] / priors.bytes_per_token, rows["out"])
    took = rows["end"] - rows["start"]
    return Counts(
        prompt=np.maximum(1.0, np.minimum(context - rows["cached"], took / FASTEST_PREFILL_S)),
        context=context,
        out=np.minimum(out, _token_ceiling(rows, took)),
        guessed_prompt=guessed_prompt,
        guessed_out=guessed_out,
    )


def encodes(rows: Table) -> Bools:
    """Return which requests are their prefill and nothing else: embeddings, classification, rerank."""
    return marked(rows, ENCODES)


def _token_ceiling(rows: Table, took: Floats) -> Floats:
    """Return more tokens than an answer can have: what lies beyond is a lie that must not poison a fit."""
    asked = np.where(np.isinf(rows["limit"]), 0.0, rows["limit"])
    ceiling: Floats = np.maximum.reduce([rows["response"], asked, 5_000.0 * took, np.ones(len(rows))])
    return ceiling
