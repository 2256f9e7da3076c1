"""The figure of one request: its energy, how it was got and how sure it is."""

import math
from collections.abc import Sequence

from joulegate.attribution.spans import Span
from joulegate.model import DeviceEnergy, Method, Settled
from joulegate.units import MICRO, Microjoules

ERRORS = {Method.MODEL, Method.ESTIMATE}
"""Methods that know how sure they are."""
WINDOW_NOISE = 0.055
"""Error of one window's share, as part of it."""
WINDOW = 0.3
"""s: windows are at least this long."""
EDGE_JITTER = 0.008
"""s by which the edge of a window may be off, as it shows in a request's energy."""
JOB_JITTER = 0.045
"""s by which the start and end of a job are off: both are seen by polling."""
MOST_JITTER = 0.5
GUESSED_PROMPT = 0.07
HIDDEN_CACHE = 0.09
"""Error where prompts are often cached without a word: how much was computed is not known."""
FLOOR = 0.02
"""Error of the model itself."""
START_UP = 0.30
"""Error of coefficients that were assumed and not fitted."""
SHORTEST = 0.005


def final_figure(span: Span, rule: str) -> Settled:
    """Give the figure of a request all of whose windows are booked."""
    total = sum(span.booked.values())
    return _figure(span, total, span.alternatives, rule, final=True)


def provisional_figure(span: Span, ahead: float, alternatives: Sequence[float], rule: str) -> Settled:
    """Give the figure as it would be if the windows ahead gave ``ahead`` joules."""
    total = sum(span.booked.values()) + round(ahead * MICRO)
    both = [a + b for a, b in zip(span.alternatives, alternatives, strict=False)] or span.alternatives
    return _figure(span, total, both, rule, final=False)


def _figure(span: Span, total: int, alternatives: Sequence[float], rule: str, *, final: bool) -> Settled:
    method = _method(span, rule)
    unmeasured = (final and not span.measured) or (span.orphaned and not total)
    if unmeasured:
        return Settled(span.opened.id, None, None, Method.UNMEASURED, final)
    sigma = _sigma(span, total / MICRO, alternatives, method) if method in ERRORS else None
    return Settled(
        id=span.opened.id,
        energy=Microjoules(total),
        sigma=None if sigma is None else Microjoules(round(sigma * MICRO)),
        method=method,
        final=final,
        by_device=_by_device(span) if final else (),
        wasted=Microjoules(span.wasted),
    )


def _by_device(span: Span) -> tuple[DeviceEnergy, ...]:
    return tuple(
        DeviceEnergy(
            device, Microjoules(energy), Microjoules(span.static[device]) if span.static_known else None
        )
        for device, energy in sorted(span.booked.items())
    )


def _method(span: Span, rule: str) -> Method:
    """Give the method that booked the most."""
    if not span.methods:
        return Method.MODEL if rule == "step-clock" else Method(rule)
    return Method(max(span.methods, key=lambda method: (span.methods[method], method)))


def _sigma(span: Span, energy: float, alternatives: Sequence[float], method: Method) -> float:
    """Give one standard deviation in J: the fit's own, the windows', and what had to be guessed."""
    mean = sum(alternatives) / len(alternatives)
    blocks = len(alternatives)
    jackknife = (blocks - 1) / blocks * sum((other - mean) ** 2 for other in alternatives)
    service = max(span.service, SHORTEST)
    windows = WINDOW_NOISE * energy / math.sqrt(max(service / WINDOW, 1.0))
    jitter = JOB_JITTER if span.is_job else EDGE_JITTER
    edges = energy * min(MOST_JITTER, jitter / service)
    guessed = (GUESSED_PROMPT * span.guessed + HIDDEN_CACHE * span.unsure_cache) * energy
    model = (START_UP if method is Method.ESTIMATE else FLOOR) * energy
    return math.sqrt(jackknife + (windows + edges) ** 2 + guessed**2 + model**2 + (span.misfit * energy) ** 2)
