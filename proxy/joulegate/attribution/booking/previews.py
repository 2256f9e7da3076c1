"""Provisional figures: of requests that have ended and whose windows are not all booked."""

from collections.abc import Iterable, Sequence, Set

import numpy as np

from joulegate.attribution.booking.account import Account
from joulegate.attribution.booking.books import Allocation, preview
from joulegate.attribution.booking.figures import provisional_figures
from joulegate.attribution.input.windows import Window
from joulegate.attribution.maths.arrays import Seconds
from joulegate.attribution.maths.fit import BLOCKS
from joulegate.model import Settled
from joulegate.units import MICRO


def fresh(accounts: Iterable[Account], until: Seconds) -> list[Account]:
    """Return those of the unsettled that had ended by an instant and of which no figure was given out."""
    return [
        account
        for account in accounts
        if not account.previewed and account.request.end is not None and account.request.end <= until
    ]


def expected(
    accounts: Sequence[Account],
    windows: Sequence[Window],
    allocation: Allocation | None,
    rule: str,
    booked: Set[int],
) -> list[Settled]:
    """Return figures by what is booked and by what all windows that are not booked are thought to hold."""
    ahead, others = np.zeros(len(accounts)), np.zeros((len(accounts), BLOCKS))
    method = rule if allocation is None else allocation.method
    if allocation is not None:
        energy, alternatives = preview(windows, allocation, booked)
        places = {id(account): place for place, account in enumerate(allocation.accounts)}
        there = np.array([places.get(id(account), -1) for account in accounts], dtype=np.int64)
        known = there >= 0
        ahead[known] = energy[there[known]]
        if alternatives is not None:
            others[known] = alternatives[there[known]]
    return _given_out(accounts, provisional_figures(accounts, ahead, others, method))


def expect(windows: Sequence[Window], allocation: Allocation, booked: Set[int]) -> None:
    """Keep with each request what these windows are thought to hold of it when they are new."""
    energy, alternatives = preview(windows, allocation, booked)
    others = [None] * len(energy) if alternatives is None else list(alternatives)
    for account, joules, other in zip(allocation.accounts, energy.tolist(), others, strict=True):
        account.expect(joules, other)


def first_estimates(accounts: Sequence[Account], rule: str) -> list[Settled]:
    """Return figures by the first estimate of every window, booked since then or not."""
    ahead = np.array([account.first_estimate - sum(account.booked.values()) / MICRO for account in accounts])
    if not accounts:
        return []
    others = np.concatenate([account.first_alternatives for account in accounts])
    others -= np.concatenate([account.alternatives for account in accounts])
    return _given_out(
        accounts, provisional_figures(accounts, ahead, others.reshape(len(accounts), BLOCKS), rule)
    )


def _given_out(accounts: Sequence[Account], figures: list[Settled]) -> list[Settled]:
    for account in accounts:
        account.preview()
    return figures
