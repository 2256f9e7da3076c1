"""The seams: what a plug-in or a room must offer. The docstrings are the contracts.

Every plug-in module has one class ``Plugin`` and, if it takes settings, a frozen msgspec struct
``Options`` which is the argument of ``Plugin``. See ``docs/plugins.md``.
"""

from collections.abc import Iterable, Sequence
from typing import Protocol

from msgspec import Struct

from joulegate.model import (
    Asked,
    Balance,
    Device,
    DeviceId,
    EnergySample,
    GateReport,
    MeterStatus,
    RequestRecord,
    ServerTimings,
    Settled,
    SourceFailure,
    SpanEvent,
    Task,
    TaskFacts,
    UpstreamSetup,
    WindowBooks,
    WorkClass,
)
from joulegate.units import Micrograms, Microwatts, Nanoseconds

# --- inference protocols -----------------------------------------------------------------------------


class Route(Struct, frozen=True):
    """A route that a protocol knows."""

    name: str
    """From a closed set, for example ``chat.completions``."""
    task: Task = Task.UNKNOWN
    work: WorkClass = WorkClass.INFERENCE
    reads_body: bool = True
    """The request body may say the model or the size of the work."""
    dialect: str = "openai"
    """How errors of the gate are written for this caller: openai, anthropic, ollama, plain."""
    model: str | None = None
    """The model, where the path names it."""


Headers = Sequence[tuple[bytes, bytes]]
"""Raw header fields in their order; names in the case in which they came."""


class Rewrite(Struct, frozen=True):
    """A request body to send in place of the client's, and the matching filter for the answer."""

    body: bytes
    strip: "ResponseFilter | None" = None


class ResponseFilter(Protocol):
    """Takes out of a streamed answer what the client did not ask for; all other bytes stay as they are."""

    def feed(self, chunk: bytes) -> bytes:
        """Give the bytes that may go on to the client now."""
        ...

    def finish(self) -> bytes:
        """Give what was held back, at the end of the answer."""
        ...


class Observer(Protocol):
    """Listens to one exchange. It never sees a socket and never changes a byte.

    Methods are called in the order in which they stand here. Any exception is counted as a parse failure
    and ends the observation; the exchange goes on untouched.
    """

    def request_body(self, chunk: bytes) -> None:
        """Take a part of the request body as sent by the client."""
        ...

    def asked(self) -> Asked:
        """Give what is known of the wish so far; the last call is after the last part of the body."""
        ...

    def rewrite(self, body: bytes) -> Rewrite | None:
        """Give a body that also asks the server for usage, or ``None`` to leave it as it is.

        Called once with the whole body, and only if it is at most 64 KiB and not encoded.
        """
        ...

    def response_head(self, status: int, headers: Headers) -> None:
        """Take the head of the answer."""
        ...

    def response_body(self, t: Nanoseconds, chunk: bytes) -> int:
        """Take a part of the answer as the server sent it; give the content bytes in it.

        Content bytes are those that stand for generated work: text deltas of a stream, the body of a
        whole answer. Comments, usage and terminators are 0.
        """
        ...

    def response_end(self, *, complete: bool) -> None:
        """Learn that the answer is over, whole or cut."""
        ...

    def facts(self) -> TaskFacts:
        """Give the work done in normal form, as far as it is known."""
        ...

    def timings(self) -> ServerTimings:
        """Give the durations that the server reported."""
        ...

    def model(self) -> str | None:
        """Give the model named in the answer."""
        ...

    def streamed(self) -> bool:
        """Say whether the answer is a stream of parts."""
        ...


class InferenceProtocol(Protocol):
    """One family of routes. ``joulegate.protocols.<name>.Plugin``."""

    def matches(self, method: str, path: str) -> Route | None:
        """Give the route, or ``None`` if this protocol does not know it. ``path`` is raw, without query."""
        ...

    def observer(self, route: Route, headers: Headers) -> Observer:
        """Give a fresh listener for one exchange."""
        ...


# --- energy sources ----------------------------------------------------------------------------------


class EnergySource(Protocol):
    """Reads the energy of the devices of this host. ``joulegate.sources.<name>.Plugin``.

    All methods are blocking and are called from a thread or process of the sampler's, never from an
    event loop; ``read`` is called for one device at a time and may be called for several at once.
    """

    def open(self) -> Sequence[Device]:
        """Find the devices. Raises ``SourceUnavailable`` with the reason and the remedy."""
        ...

    def read(self, device: DeviceId) -> EnergySample:
        """Read one device now. Raises ``SourceUnavailable`` or ``SourceInvalid``."""
        ...

    def close(self) -> None:
        """Let go of the devices; never raises."""
        ...


class ProcessLocator(Protocol):
    """Optional ability of a source: which devices a process works on."""

    def devices_of(self, pids: Iterable[int]) -> Sequence[DeviceId]:
        """Give the devices that any of these processes uses now; empty if none or unknown."""
        ...


# --- carbon ------------------------------------------------------------------------------------------


class Intensity(Struct, frozen=True):
    """A carbon intensity with its origin."""

    zone: str
    intensity: Micrograms
    """Micrograms CO2e per kWh."""
    source: str
    licence: str
    year: int | None = None
    basis: str = "location"


class CarbonSource(Protocol):
    """Gives the carbon intensity of a zone. ``joulegate.carbon.<name>.Plugin``."""

    def intensity(self, wall: Nanoseconds) -> Intensity:
        """Give the intensity in force at a wall-clock time. Raises ``SourceUnavailable``."""
        ...


# --- attribution -------------------------------------------------------------------------------------


class DeviceHealth(Struct, frozen=True):
    """What settlement found out about the readings of one device."""

    idle_power: Microwatts | None
    """Power with no request present, learned when quiet; ``None`` until known."""
    resets: int
    gap: Nanoseconds
    rejected: tuple[tuple[str, int], ...]
    """Dropped readings by reason."""


class Attributor(Protocol):
    """Settles requests: events and samples in, figures and books out. Pure: time is an argument.

    Inputs may arrive late and slightly out of order; each is used only from the moment it is given. The
    books of every window that comes out balance exactly.
    """

    def sample(self, sample: EnergySample | SourceFailure) -> None:
        """Take one reading, good or failed."""
        ...

    def event(self, event: SpanEvent) -> None:
        """Take one span event; one that is already known changes nothing."""
        ...

    def advance(self, now: Nanoseconds) -> tuple[Sequence[Settled], Sequence[WindowBooks]]:
        """Settle what is due at ``now``: provisional and final figures, and the windows that closed."""
        ...

    def drain(self, now: Nanoseconds) -> tuple[Sequence[Settled], Sequence[WindowBooks]]:
        """Settle everything up to the last reading, because no more will come."""
        ...

    def assign(self, upstream: str, setup: UpstreamSetup) -> None:
        """Learn or change what is known of an upstream; windows that are closed stay as they are."""
        ...

    def health(self, device: DeviceId) -> DeviceHealth:
        """Give what was found out about a device's readings."""
        ...


# --- the channel between gates and meter ---------------------------------------------------------------


class EventSink(Protocol):
    """Where a gate's events go."""

    def emit(self, event: SpanEvent) -> None:
        """Take one event. Never blocks and never raises; what overflows its bound is counted."""
        ...


class EventHandler(Protocol):
    """Who listens to the gates: the meter."""

    def gate_connected(self, report: GateReport) -> None:
        """Learn that a gate came, or came back."""
        ...

    def gate_reported(self, report: GateReport) -> None:
        """Take the gate's own figures, about once a second."""
        ...

    def gate_lost(self, gate: str) -> None:
        """Learn that a gate died: its open spans will not be closed by anyone else."""
        ...

    def event(self, gate: str, event: SpanEvent) -> None:
        """Take one event; after a reconnection the same event may come again."""
        ...


# --- exporters ---------------------------------------------------------------------------------------


class Exporter(Protocol):
    """Publishes settled figures. ``joulegate_exporters.<name>.Plugin``.

    ``settled`` and ``booked`` are called on the meter's loop and only add integers. ``render`` may be
    called in another thread with what ``freeze`` gave.
    """

    content_types: Sequence[str]

    def settled(self, record: RequestRecord) -> None:
        """Take one final record."""
        ...

    def booked(self, books: WindowBooks) -> None:
        """Take the books of one closed window."""
        ...

    def freeze(self, status: MeterStatus) -> object:
        """Give an immutable copy of all that ``render`` needs; fast, on the loop."""
        ...

    def render(self, frozen: object, accept: str) -> tuple[bytes, str]:
        """Give the document and its content type; slow, off the loop."""
        ...


class Continuous(Protocol):
    """Optional ability of an exporter with counters."""

    def restore(self, balances: Iterable[Balance]) -> None:
        """Add sums to the counters: at start those that the ledger kept, from before the restart.

        A balance of zeros begins the series of a coming record, so that a rate sees its first energy.
        Called on the meter's loop.
        """
        ...
