"""The figure of one request."""

from collections import Counter
from typing import Any

import numpy as np
import pytest

from joulegate.attribution.booking.account import Account
from joulegate.attribution.booking.figures import final_figures, provisional_figures
from joulegate.attribution.input.request import RequestInput
from joulegate.model import DeviceId, Method, Settled
from joulegate.units import MICRO


def booked(make: Any, joules: float, method: str = "model", service: float = 3.0) -> Account:
    one = Account(RequestInput(make.opened("a", 0.0), 0, 0))
    one.booked[DeviceId("gpu0")] = round(joules * MICRO)
    one.methods[method] = round(joules * MICRO)
    one.alternatives = np.full(6, joules)
    one.measured, one.service = True, service
    return one


def final_figure(account: Account, rule: str) -> Settled:
    return final_figures([account], rule)[0]


def test_the_energy_is_the_sum_of_what_was_booked(make: Any) -> None:
    """Over devices, in whole microjoules."""
    one = booked(make, 100)
    one.booked[DeviceId("gpu1")] = 7
    figure = final_figure(one, "step-clock")

    assert figure.energy == 100 * MICRO + 7
    assert [part.energy for part in figure.by_device] == [100 * MICRO, 7]


def test_short_requests_are_less_sure(make: Any) -> None:
    """A request of one window has the window's noise, a long one averages it out."""
    short = final_figure(booked(make, 100, service=0.01), "step-clock").sigma
    long = final_figure(booked(make, 100, service=30.0), "step-clock").sigma

    assert short is not None
    assert long is not None
    assert short > 5 * long


def test_fits_that_disagree_widen_the_error(make: Any) -> None:
    """Leaving out a block of the past and getting another figure is an error of its own."""
    sure, torn = booked(make, 100), booked(make, 100)
    torn.alternatives = np.array([80.0, 90, 100, 110, 120, 100])

    assert (final_figure(torn, "step-clock").sigma or 0) > 2 * (final_figure(sure, "step-clock").sigma or 0)


@pytest.mark.parametrize("method", ["tokens", "overlap"])
def test_simple_rules_have_no_error_bar(make: Any, method: str) -> None:
    """A rule that does not know how sure it is says nothing."""
    assert final_figure(booked(make, 100, method), method).sigma is None


def test_assumed_coefficients_are_said_and_unsure(make: Any) -> None:
    """Figures before the first fit are estimates."""
    figure = final_figure(booked(make, 100, "estimate"), "step-clock")

    assert figure.method is Method.ESTIMATE
    assert (figure.sigma or 0) > 30 * MICRO


def test_what_was_estimated_stays_unsure(make: Any) -> None:
    """A request across the first fit is as unsure as the part that was booked before it."""
    sure, half = booked(make, 100), booked(make, 100)
    half.methods = Counter({"model": 60 * MICRO, "estimate": 40 * MICRO})

    assert (final_figure(half, "step-clock").sigma or 0) > (
        final_figure(sure, "step-clock").sigma or 0
    ) + 8 * MICRO


def test_a_rule_that_is_far_from_the_counter_is_less_sure(make: Any) -> None:
    """More than half of the distance of a usual second is not common to all in it."""
    near, far = booked(make, 100), booked(make, 100)
    far.misfit = 0.2

    assert (final_figure(near, "step-clock").sigma or 0) < 5 * MICRO
    assert (final_figure(far, "step-clock").sigma or 0) == pytest.approx(12.3 * MICRO, rel=0.03)


def test_the_method_is_the_one_that_booked_the_most(make: Any) -> None:
    """A request across the first fit has both."""
    one = booked(make, 100)
    one.methods["estimate"] = 40 * MICRO

    assert final_figure(one, "step-clock").method is Method.MODEL


def test_unknown_is_not_zero(make: Any) -> None:
    """Nothing measured, no figure; not even a zero."""
    figure = final_figure(Account(RequestInput(make.opened("a", 0.0), 0, 0)), "tokens")

    assert figure.energy is None
    assert figure.method is Method.UNMEASURED


def test_a_provisional_figure_adds_what_lies_ahead(make: Any) -> None:
    """Booked and expected, marked as not final."""
    figure = provisional_figures([booked(make, 100)], np.array([20.0]), np.full((1, 6), 20.0), "step-clock")[
        0
    ]

    assert figure.energy == 120 * MICRO
    assert not figure.final


def test_a_first_figure_says_how_it_was_got(make: Any) -> None:
    """Before anything is booked or fitted it is an estimate, and as unsure as one."""
    fresh = Account(RequestInput(make.opened("a", 0.0), 0, 0))
    fresh.service = 3.0
    (figure,) = provisional_figures([fresh], np.array([20.0]), np.full((1, 6), 20.0), "estimate")

    assert figure.method is Method.ESTIMATE
    assert (figure.sigma or 0) > 7 * MICRO
