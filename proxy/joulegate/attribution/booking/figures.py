"""The figure of one request: its energy, how it was got and how sure it is."""

from collections.abc import Mapping, Sequence

import numpy as np

from joulegate.attribution.booking.account import Account
from joulegate.attribution.maths.arrays import Floats
from joulegate.model import DeviceEnergy, DeviceId, Method, Settled
from joulegate.units import MICRO, Microjoules

ERRORS = {Method.MODEL, Method.ESTIMATE}
"""Methods with an error bar."""
METHODS = {method.value: method for method in Method}
WINDOW_NOISE = 0.055
"""Error of one window's share, as part of it."""
WINDOW_S = 0.3
"""Windows are at least this long."""
EDGE_JITTER_S = 0.008
"""Seconds by which the edge of a window may be off, as it shows in a request's energy."""
JOB_JITTER_S = 0.045
"""Seconds by which the start and end of a job are off: both are seen by polling."""
MOST_JITTER = 0.5
GUESSED_PROMPT = 0.07
HIDDEN_CACHE = 0.09
"""Error where prompts are often cached without a report: how much was computed is not known."""
MODEL_ERROR = 0.02
"""Error of the model itself."""
MISFIT_PART = 0.6
"""Part of the distance between model and counter that is not common to the requests of a second."""
ASSUMED_ERROR = 0.35
"""Error of coefficients that were assumed and not fitted."""
SHORTEST_SERVICE_S = 0.005


def final_figures(accounts: Sequence[Account], rule: str) -> list[Settled]:
    """Return the figures of requests all of whose windows are booked."""
    return _figures(accounts, np.zeros(len(accounts)), None, rule, final=True)


def provisional_figures(
    accounts: Sequence[Account], ahead: Floats, alternatives: Floats | None, method: str
) -> list[Settled]:
    """Return the figures as they would be if the windows ahead gave ``ahead`` joules, got by a method."""
    return _figures(accounts, ahead, alternatives, method, final=False)


def _figures(
    accounts: Sequence[Account], ahead: Floats, alternatives: Floats | None, rule: str, *, final: bool
) -> list[Settled]:
    if not accounts:
        return []
    booked = [sum(account.booked.values()) for account in accounts]
    totals = [a + b for a, b in zip(booked, np.rint(ahead * MICRO).astype(np.int64).tolist(), strict=True)]
    methods = [_method(account, rule) for account in accounts]
    others = np.concatenate([account.alternatives for account in accounts]).reshape(len(accounts), -1)
    others = others if alternatives is None else others + alternatives
    sigmas = _sigmas(accounts, np.array(totals) / MICRO, others, methods)
    rounded = np.rint(sigmas * MICRO).astype(np.int64).tolist()
    return [
        _figure(account, total, method, sigma, final=final)
        for account, total, method, sigma in zip(accounts, totals, methods, rounded, strict=True)
    ]


def _figure(account: Account, total: int, method: Method, sigma: int, *, final: bool) -> Settled:
    if (final and not account.measured) or (account.request.orphaned and not total):
        return Settled(account.request.id, None, None, Method.UNMEASURED, final)
    return Settled(
        id=account.request.id,
        energy=Microjoules(total),
        sigma=Microjoules(sigma) if method in ERRORS else None,
        method=method,
        final=final,
        by_device=_by_device(account) if final else (),
        wasted=Microjoules(account.wasted),
    )


def _by_device(account: Account) -> tuple[DeviceEnergy, ...]:
    static: Mapping[DeviceId, int] = account.static or {}
    if len(account.booked) == 1:
        ((device, energy),) = account.booked.items()
        return (DeviceEnergy(device, Microjoules(energy), _still(static.get(device))),)
    return tuple(
        [
            DeviceEnergy(device, Microjoules(energy), _still(static.get(device)))
            for device, energy in sorted(account.booked.items())
        ]
    )


def _still(energy: int | None) -> Microjoules | None:
    return None if energy is None else Microjoules(energy)


def _method(account: Account, rule: str) -> Method:
    """Return the method that booked the most."""
    methods = account.methods
    if not methods:
        return Method.MODEL if rule == "step-clock" else METHODS[rule]
    if len(methods) == 1:
        return METHODS[next(iter(methods))]
    return METHODS[max(methods, key=lambda method: (methods[method], method))]


def _sigmas(accounts: Sequence[Account], energy: Floats, others: Floats, methods: Sequence[Method]) -> Floats:
    """Return one standard deviation in J: the fit's own, the windows', and what had to be guessed."""
    blocks = others.shape[1]
    jackknife = (blocks - 1) / blocks * ((others - others.mean(axis=1)[:, None]) ** 2).sum(axis=1)
    service = np.maximum([account.service for account in accounts], SHORTEST_SERVICE_S)
    windows = WINDOW_NOISE / np.sqrt(np.maximum(service / WINDOW_S, 1.0))
    jitter = np.where([account.request.is_job for account in accounts], JOB_JITTER_S, EDGE_JITTER_S)
    edges = np.minimum(MOST_JITTER, jitter / service)
    guessed = np.array(
        [
            GUESSED_PROMPT * account.guessed_prompt + HIDDEN_CACHE * account.hidden_cache
            for account in accounts
        ]
    )
    model = np.maximum(
        ASSUMED_ERROR * np.array([_estimated(*one) for one in zip(accounts, methods, strict=True)]),
        MODEL_ERROR,
    )
    misfit = MISFIT_PART * np.array([account.misfit for account in accounts])
    parts = (windows + edges) ** 2 + guessed**2 + model**2 + misfit**2
    sigmas: Floats = np.sqrt(jackknife + parts * energy**2)
    return sigmas


def _estimated(account: Account, method: Method) -> float:
    """Return the part of the energy that is by assumed coefficients; before any is booked, by its method."""
    if len(account.methods) < 2:
        return float(method is Method.ESTIMATE)
    booked = sum(account.methods.values())
    return account.methods.get(Method.ESTIMATE, 0) / booked if booked else float(method is Method.ESTIMATE)
