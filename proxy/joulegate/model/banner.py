"""What was detected at the start, for one screen that a person reads."""

from msgspec import Struct

from joulegate.model.energy import Device
from joulegate.model.status import CarbonStatus


class FoundUpstream(Struct, frozen=True):
    """One configured server as it was found."""

    name: str
    url: str
    takes: str
    """Which requests go there, in words, for example ``/image`` or ``everything else``."""
    server: str | None = None
    """Type and version as people read them; ``None`` is not known."""
    models: tuple[str, ...] = ()
    devices: tuple[str, ...] | None = ()
    """Devices it works on; ``None`` if they are not of this host or not known."""
    how: str = ""
    """How the devices were found, or why not."""
    up: bool | None = None
    """``None``: not asked."""
    away: tuple[str, ...] = ()
    """Replicas that do not answer."""


class Banner(Struct, frozen=True):
    """All of it."""

    version: str
    proxy: str
    """URL where clients come."""
    admin: str
    """URL of metrics and admin API."""
    gates: int
    upstreams: tuple[FoundUpstream, ...]
    source: str | None
    """Name of the energy source; ``None`` if none works here."""
    devices: tuple[Device, ...] = ()
    passed_over: tuple[tuple[str, str], ...] = ()
    """Better sources that do not work here, each with the reason."""
    carbon: CarbonStatus | None = None
    ledger: str = ""
    notes: tuple[str, ...] = ()
    """Anything else that a person must know."""
