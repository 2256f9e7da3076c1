"""What clients of the simulated servers ask, and what happens to it."""

from dataclasses import dataclass, field


@dataclass
class Energy:
    """True energy of one request in joules, by cause."""

    prefill: float = 0.0
    decode: float = 0.0
    kv: float = 0.0
    image: float = 0.0
    fixed: float = 0.0
    static: float = 0.0

    def own(self) -> float:
        """Return what the request costs by its own work."""
        return self.prefill + self.decode + self.kv + self.image

    def causal(self) -> float:
        """Return the target: own work, its part of the fixed energy of steps, its part of static power."""
        return self.own() + self.fixed + self.static


@dataclass
class Request:
    """One request: the wish, then the course of events (times in seconds)."""

    id: str
    upstream: str
    task: str
    arrival: float
    stream: bool = True
    reports_usage: bool = True
    prompt: int = 0
    cached: int = 0
    reports_cached: bool = False
    out: int = 0
    max_tokens: int = 0
    body_bytes: int = 0
    leaves: float | None = None
    """Time after its arrival at which the client leaves."""
    width: int = 0
    height: int = 0
    steps: int = 0
    images: int = 1
    job: bool = False

    admitted: float | None = None
    ended: float | None = None
    """When the engine was done with it."""
    aborted: bool = False
    produced: int = 0
    emissions: list[tuple[float, int]] = field(default_factory=list)
    """Step ends at which tokens came out, with their number."""
    energy: Energy = field(default_factory=Energy)

    @property
    def gone(self) -> float:
        """When the client leaves; infinity if it stays."""
        return float("inf") if self.leaves is None else self.arrival + self.leaves
