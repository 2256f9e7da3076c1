"""Sharing measured energy among concurrent requests, exactly. No I/O, no clock."""

from collections.abc import Callable, Mapping, Sequence

from joulegate.attribution.booking.settler import Settler
from joulegate.attribution.rules import Rule, overlap, step_clock, tokens, tokens_capped
from joulegate.errors import ConfigError
from joulegate.model import Device, DeviceId, UpstreamSetup
from joulegate.ports import Attributor
from joulegate.units import Microwatts, Nanoseconds

RULES: Mapping[str, Callable[[], Rule]] = {
    "step-clock": step_clock.Rule,
    "tokens": tokens.Rule,
    "tokens-capped": tokens_capped.Rule,
    "overlap": lambda: overlap.Rule("overlap", queue_pays=True),
    "overlap-service": lambda: overlap.Rule("overlap-service", queue_pays=False),
}
"""The rules by name; ``window`` exists in replay only, for its books do not close."""
BEST = "step-clock"
"""What ``auto`` stands for."""


def build(
    method: str,
    upstreams: Mapping[str, UpstreamSetup],
    devices: Sequence[Device],
    *,
    settle: Nanoseconds,
    idle_power: Mapping[DeviceId, Microwatts],
) -> Attributor:
    """Return a settler by the name of its rule. Raises ``ConfigError`` that names the choices."""
    name = BEST if method == "auto" else method
    if name not in RULES:
        raise ConfigError(f"attribution.method: {method!r} is not one of auto, {', '.join(RULES)}")
    return Settler(RULES[name], upstreams, devices, settle=settle, idle_power=idle_power)
