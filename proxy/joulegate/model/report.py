"""Figures of past requests by group: what the ledger adds up and reports show."""

from msgspec import Struct

from joulegate.units import Micrograms, Microjoules


class ReportRow(Struct, frozen=True):
    """Inference requests of one group over a time."""

    group: tuple[tuple[str, str], ...]
    """Words and their values, for example ``(("task", "chat"), ("model", "gemma"))``."""
    requests: int
    """Ended well, with a known energy; means and deviation are over these."""
    others: int
    """Failed, cancelled or without a known energy."""
    energy: Microjoules
    """Of all of them."""
    mean: float | None
    """Microjoules."""
    deviation: float | None
    """Standard deviation of the sample in microjoules; ``None`` below two requests."""
    emissions: Micrograms | None
    """Of all of them; ``None`` where none are known."""
    mean_emissions: float | None
    """Micrograms, over those with known emissions."""
    methods: tuple[str, ...]
