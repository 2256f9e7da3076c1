"""What is known, or must be guessed, of text requests: their tokens and their chunks."""

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
        """Return the counts at these places."""
        return Counts(
            self.prompt[places],
            self.context[places],
            self.out[places],
            self.guessed_prompt[places],
            self.guessed_out[places],
        )


class Answers:
    """The text requests of one engine that are looked at together."""

    def __init__(self, requests: Sequence[RequestInput], priors: Priors) -> None:
        self.requests = requests
        self.rows = table(requests)
        self.counts = count(self.rows, priors)
        self.streaming = np.flatnonzero(marked(self.rows, CHUNKED))
        """Places of those that stream."""
        self.streamed = [requests[place] for place in self.streaming.tolist()]
        """Those themselves."""
        counts = self.counts.of(self.streaming)
        self.streams = Streams(
            np.frombuffer(b"".join([request.times for request in self.streamed])) - CHUNK_DELAY_S,
            np.array([len(request.times) for request in self.streamed], dtype=np.int64),
            np.where(counts.guessed_out, np.nan, counts.out),
            np.array([request.gone for request in self.streamed], dtype=np.int64),
        )
        """Their chunks."""


def count(rows: Table, priors: Priors) -> Counts:
    """Return the tokens of requests: reported, or estimated until then."""
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
    """Return whether each request is only a prefill: embeddings, classification, rerank."""
    return marked(rows, ENCODES)


def _token_ceiling(rows: Table, took: Floats) -> Floats:
    """Return an upper bound of each answer's tokens: a larger count is wrong and must not spoil a fit."""
    asked = np.where(np.isinf(rows["limit"]), 0.0, rows["limit"])
    ceiling: Floats = np.maximum.reduce([rows["response"], asked, 5_000.0 * took, np.ones(len(rows))])
    return ceiling
