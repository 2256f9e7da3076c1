"""The rows of a trace as they are written, with the names and the resolution of the format.

``traces.py`` reads what stands here. Fields that the format does not name are more than it needs, and readers
ignore what they do not know.
"""

from collections.abc import Mapping

from msgspec import Struct, field

from joulegate.units import NANO


def trace_time(t: int) -> float:
    """Return nanoseconds as seconds, to 10 us: times of ``trace.jsonl``."""
    return round(t / NANO, 5)


def sample_time(t: int) -> float:
    """Return nanoseconds as seconds, to 100 us: times of ``nvml.jsonl`` and of chunks."""
    return round(t / NANO, 4)


# --- trace.jsonl


class Start(Struct, frozen=True, omit_defaults=True, tag_field="ev", tag="start"):
    """Head and body of a request have reached the proxy."""

    t: float
    id: str
    upstream: str
    task: str
    body_bytes: int
    stream: bool
    max_tokens: int | None = None
    width: int | None = None
    height: int | None = None
    steps: int | None = None
    n: int | None = None
    is_job: bool = field(default=False, name="async")
    clipped: bool = False
    """Not of the format: the request came before the recording began, and ``t`` is 0 in place of that."""


class FirstByte(Struct, frozen=True, tag_field="ev", tag="first_byte"):
    """The first content byte of the answer."""

    t: float
    id: str


class JobAccepted(Struct, frozen=True, tag_field="ev", tag="job_accepted"):
    """The server accepted a job."""

    t: float
    id: str


class JobRunning(Struct, frozen=True, tag_field="ev", tag="job_running"):
    """The first sign that a job runs."""

    t: float
    id: str


class UsageRow(Struct, frozen=True, omit_defaults=True):
    """Tokens as the server reported them."""

    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int | None = None


class TimingsRow(Struct, frozen=True, omit_defaults=True):
    """Not of the format: durations that the server reported, in seconds."""

    queue: float | None = None
    load: float | None = None
    prefill: float | None = None
    decode: float | None = None


class End(Struct, frozen=True, omit_defaults=True, tag_field="ev", tag="end"):
    """The answer is over, or its client left."""

    t: float
    id: str
    status: int
    usage: UsageRow | None
    resp_bytes: int
    chunk_t: list[float] | None = None
    chunk_b: list[int] | None = None
    outcome: str = "ok"
    """Not of the format, like those below: how the request ended, as the metrics name it."""
    client_left: float | None = None
    """When the client left, if the server worked on until ``t``."""
    pixels: int | None = None
    timings: TimingsRow | None = None


class JobDone(End, frozen=True, omit_defaults=True, tag_field="ev", tag="job_done"):
    """A job is over."""


TraceRow = Start | FirstByte | JobAccepted | JobRunning | End | JobDone


# --- nvml.jsonl


class ProcessesRow(Struct, frozen=True):
    """Not of the format: who used the device, in per cent of the time from ``since`` to ``t``."""

    since: float
    t: float
    own: int
    foreign: int


class SampleRow(Struct, frozen=True, omit_defaults=True):
    """One poll of one device."""

    t: float
    gpu: int
    energy_mj: int | None = None
    power_mw: int | None = None
    sm_clock_mhz: int | None = None
    error: str | None = None
    processes: ProcessesRow | None = None


# --- public.json


class UpstreamRow(Struct, frozen=True, omit_defaults=True):
    """A server, as a trace describes it."""

    kind: str
    gpus: tuple[int, ...]
    concurrency: int = 1


class TraceOrigin(Struct, frozen=True):
    """Not of the format: what stands behind an index, and how good its readings are."""

    gpu: int
    name: str
    component: str
    source: str
    tier: str


class MachineRow(Struct, frozen=True, omit_defaults=True):
    """The machine of a trace; what stands after ``idle_w`` is not of the format."""

    upstreams: Mapping[str, UpstreamRow]
    n_gpus: int
    idle_w: float | None = None
    devices: tuple[TraceOrigin, ...] = ()
    method: str = ""
    """The rule by which the meter settled while it recorded."""
    version: str = ""
    """Of the joulegate that recorded."""
