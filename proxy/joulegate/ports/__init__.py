"""The seams: what a plug-in or a room must offer. The docstrings are the contracts.

Every plug-in module has one class ``Plugin`` and, if it takes settings, a frozen msgspec struct
``Options`` which is the argument of ``Plugin``. See ``docs/plugins.md``.
"""

from joulegate.ports.attribution import Attributor, DeviceHealth
from joulegate.ports.carbon import CarbonSource, Intensity
from joulegate.ports.channel import EventHandler, EventSink, GateControl
from joulegate.ports.exporters import Continuous, Exporter, Summing
from joulegate.ports.jobs import JobObserver, JobProtocol, WebsocketObserver
from joulegate.ports.protocols import (
    USUAL_DIALECT,
    About,
    Conclusion,
    Fields,
    Headers,
    InferenceProtocol,
    Observer,
    Places,
    ResponseFilter,
    Rewrite,
    Route,
    WritesErrors,
    about,
    by_name,
)
from joulegate.ports.sources import EnergySource, ProcessLocator, ProcessObserver

__all__ = [
    "USUAL_DIALECT",
    "About",
    "Attributor",
    "CarbonSource",
    "Conclusion",
    "Continuous",
    "DeviceHealth",
    "EnergySource",
    "EventHandler",
    "EventSink",
    "Exporter",
    "Fields",
    "GateControl",
    "Headers",
    "InferenceProtocol",
    "Intensity",
    "JobObserver",
    "JobProtocol",
    "Observer",
    "Places",
    "ProcessLocator",
    "ProcessObserver",
    "ResponseFilter",
    "Rewrite",
    "Route",
    "Summing",
    "WebsocketObserver",
    "WritesErrors",
    "about",
    "by_name",
]
