"""What the meter tells its gates: what work costs, and what may be spent."""

from msgspec import Struct

from joulegate.model.energy import Tier
from joulegate.model.requests import SpanId
from joulegate.units import Micrograms, Microjoules, Microwatts, Nanoseconds


class WorkPrice(Struct, frozen=True, array_like=True, gc=False):
    """What one unit of one kind of work takes, as fitted to what was measured."""

    work: str
    """Name of the kind, for example ``completion_tokens``."""
    energy: float
    """Microjoules a unit."""
    sigma: float
    """Standard error of that in microjoules a unit."""


class UpstreamPrices(Struct, frozen=True, gc=False):
    """The price list of one upstream."""

    upstream: str
    work: tuple[WorkPrice, ...] = ()
    idle: Microwatts | None = None
    """Power of its devices while nobody asks for anything; ``None`` is not known."""
    awake: Microwatts | None = None
    """Power that its devices add as soon as they work at all."""
    intensity: Micrograms | None = None
    """Carbon dioxide equivalent a kWh."""
    pue: float = 1.0


class SpanFigure(Struct, frozen=True, gc=False):
    """What one request has cost so far, or cost in all."""

    id: SpanId
    energy: Microjoules
    sigma: Microjoules
    emissions: Micrograms | None = None
    method: str = ""
    tier: Tier | None = None
    final: bool = False
    """The figure stays."""


class Figures(Struct, frozen=True, tag="figures", gc=False):
    """Price lists and figures that are new or have changed."""

    prices: tuple[UpstreamPrices, ...] = ()
    spans: tuple[SpanFigure, ...] = ()


class BudgetLease(Struct, frozen=True, gc=False):
    """The part of a budget that one gate may spend without asking."""

    budget: str
    lease: int
    """Number of the lease: rises with each that the meter gives, also after its restart."""
    granted: int
    """In the smallest unit of the budget: microjoules, micrograms, tokens, images or requests."""
    expires: Nanoseconds
    """Wall clock."""
    limit: int
    """Of the whole budget, for what a refusal says."""
    used: int
    period_end: Nanoseconds
    """Wall clock."""


class Limits(Struct, frozen=True, tag="limits", gc=False):
    """Leases that are new or have changed, and budgets that are no more."""

    leases: tuple[BudgetLease, ...] = ()
    withdrawn: tuple[str, ...] = ()
    """Names of budgets."""
