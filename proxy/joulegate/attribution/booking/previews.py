"""Provisional figures: of requests that have ended and whose windows are not all booked."""

from collections.abc import Iterable, Sequence

import numpy as np

from joulegate.attribution.booking.books import Verdicts, preview
from joulegate.attribution.booking.figures import provisional_figures
from joulegate.attribution.input.request import AttributedSpan
from joulegate.attribution.input.windows import Window
from joulegate.attribution.maths.fit import BLOCKS
from joulegate.model import Settled
from joulegate.units import MICRO


def fresh(spans: Iterable[AttributedSpan], until: float) -> list[AttributedSpan]:
    """Return those that had ended by an instant, in s, and of which no figure was given out."""
    return [
        span
        for span in spans
        if not span.previewed and not span.done and span.end is not None and span.end <= until
    ]


def expected(
    spans: Sequence[AttributedSpan], windows: Sequence[Window], accounts: Verdicts | None, rule: str
) -> list[Settled]:
    """Return figures by what is booked and by what all windows that are not booked are thought to hold."""
    ahead, others = np.zeros(len(spans)), np.zeros((len(spans), BLOCKS))
    method = rule if accounts is None else accounts.method
    if accounts is not None:
        energy, alternatives = preview(windows, accounts)
        places = {id(span): place for place, span in enumerate(accounts.spans)}
        there = np.array([places.get(id(span), -1) for span in spans], dtype=np.int64)
        known = there >= 0
        ahead[known] = energy[there[known]]
        if alternatives is not None:
            others[known] = alternatives[there[known]]
    return _given_out(spans, provisional_figures(spans, ahead, others, method))


def glimpse(windows: Sequence[Window], accounts: Verdicts) -> None:
    """Keep with each request what these windows are thought to hold of it at first sight."""
    energy, alternatives = preview(windows, accounts)
    others = [None] * len(energy) if alternatives is None else list(alternatives)
    for span, joules, other in zip(accounts.spans, energy.tolist(), others, strict=True):
        span.glimpse(joules, other)


def glimpsed(spans: Sequence[AttributedSpan], rule: str) -> list[Settled]:
    """Return figures by the first sight of every window, booked since then or not."""
    ahead = np.array([span.ahead - sum(span.booked.values()) / MICRO for span in spans])
    if not spans:
        return []
    others = np.concatenate([span.ahead_alternatives for span in spans])
    others -= np.concatenate([span.alternatives for span in spans])
    return _given_out(spans, provisional_figures(spans, ahead, others.reshape(len(spans), BLOCKS), rule))


def _given_out(spans: Sequence[AttributedSpan], figures: list[Settled]) -> list[Settled]:
    for span in spans:
        span.previewed = True
    return figures
