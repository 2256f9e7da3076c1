"""An attributor that gives what a test says, and the words of one request."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from joulegate.cli.record import take
from joulegate.cli.trace_files import SAMPLES, SETUP, TRACE, trace_files
from joulegate.meter.requests.open_requests import OpenRequests
from joulegate.meter.requests.record_writer import RecordWriter
from joulegate.meter.requests.settlement import Settlement
from joulegate.model import (
    Asked,
    Component,
    Device,
    DeviceEnergy,
    DeviceId,
    DeviceLoad,
    EnergySample,
    Fact,
    JobNote,
    JobSign,
    JobState,
    Method,
    Outcome,
    Settled,
    SourceFailure,
    SpanClosed,
    SpanEvent,
    SpanFirstByte,
    SpanId,
    SpanJob,
    SpanOpened,
    Task,
    TaskFacts,
    Tier,
    UpstreamSetup,
    WindowBooks,
)
from joulegate.ports import DeviceHealth
from joulegate.replay import Trace, read
from joulegate.units import NANO, Microjoules, Nanoseconds

GPU = DeviceId("GPU-0")
SECOND = 10**9


class FakeAttributor:
    """Keeps what it is told and gives what it was told to give."""

    def __init__(self) -> None:
        self.events: list[SpanEvent] = []
        self.samples: list[EnergySample | SourceFailure] = []
        self.loads: list[DeviceLoad] = []
        self.resets = 0
        self._settled: list[Settled] = []
        self._books: list[WindowBooks] = []

    def give(self, settled: Sequence[Settled] = (), books: Sequence[WindowBooks] = ()) -> None:
        """Let the next step settle this."""
        self._settled += settled
        self._books += books

    def sample(self, sample: EnergySample | SourceFailure) -> None:
        self.samples.append(sample)

    def load(self, load: DeviceLoad) -> None:
        self.loads.append(load)

    def event(self, event: SpanEvent) -> None:
        self.events.append(event)

    def advance(self, now: Nanoseconds) -> tuple[Sequence[Settled], Sequence[WindowBooks]]:
        found = self._settled, self._books
        self._settled, self._books = [], []
        return found

    def drain(self, now: Nanoseconds) -> tuple[Sequence[Settled], Sequence[WindowBooks]]:
        return self.advance(now)

    def assign(self, upstream: str, setup: UpstreamSetup) -> None:
        self.assigned = (upstream, setup)

    def health(self, device: DeviceId) -> DeviceHealth:
        return DeviceHealth(None, self.resets, Nanoseconds(0), ())


class Words:
    """Makes the events and figures of requests; times are in seconds."""

    gpu = GPU
    device = Device(GPU, 0, "Test GPU", "fake", Tier.SYNTHETIC)

    def opened(self, id_: str, t: float = 1, **words: object) -> SpanOpened:
        known = {"upstream": "llm", "protocol": "openai", "task": Task.CHAT, "asked": Asked(model="asked")}
        return SpanOpened(id=SpanId(id_), t=at(t), **(known | words))  # type: ignore[arg-type]

    def first_byte(self, id_: str, t: float = 1.5) -> SpanFirstByte:
        return SpanFirstByte(SpanId(id_), at(t))

    def closed(self, id_: str, t: float = 2, **words: object) -> SpanClosed:
        known = {"outcome": Outcome.OK, "status": 200, "facts": TaskFacts(completion_tokens=Fact(5))}
        return SpanClosed(id=SpanId(id_), t=at(t), **(known | words))  # type: ignore[arg-type]

    def running(self, id_: str, t: float) -> SpanJob:
        return SpanJob(SpanId(id_), at(t), JobState.RUNNING)

    def noted(
        self, id_: str, t: float, state: JobState, *, job: str = "j", own: bool = False, **sign: object
    ) -> JobNote:
        told = JobSign(job, state, **sign)  # type: ignore[arg-type]
        return JobNote(SpanId(id_), at(t), "llm", told, own=own)

    def settled(self, id_: str, energy: int | None = 7, *, final: bool = True) -> Settled:
        if energy is None:
            return Settled(SpanId(id_), None, None, Method.UNMEASURED, final)
        return Settled(
            SpanId(id_),
            Microjoules(energy),
            None,
            Method.TOKENS,
            final,
            by_device=(DeviceEnergy(GPU, Microjoules(energy)),) if final else (),
        )

    def window(self, start: float, end: float, requests: int = 7, idle: int = 3) -> WindowBooks:
        energy = Microjoules(requests + idle)
        return WindowBooks(GPU, at(start), at(end), energy, Microjoules(requests), Microjoules(idle))

    def sample(self, t: float, counter: int | None = None) -> EnergySample:
        return EnergySample(GPU, at(t), None if counter is None else Microjoules(counter))

    def at(self, t: float) -> Nanoseconds:
        return at(t)


@pytest.fixture(scope="session")
def words() -> Words:
    """Makes events and figures."""
    return Words()


@pytest.fixture
def attributor() -> FakeAttributor:
    """Gives what a test says."""
    return FakeAttributor()


@pytest.fixture
def settlement(attributor: FakeAttributor) -> Settlement:
    """A settlement that has seen nothing; the request ``before`` is in the ledger already."""
    return make_settlement(attributor)


@pytest.fixture(scope="session")
def new_settlement() -> Callable[..., Settlement]:
    """Makes a settlement for an attributor."""
    return make_settlement


@pytest.fixture(scope="session")
def new_attributor() -> Callable[[], FakeAttributor]:
    """Makes an attributor."""
    return FakeAttributor


@pytest.fixture(scope="session")
def read_back() -> Callable[[bytes, Path], Trace]:
    """Writes the lines of a recording into a folder, and reads them as `joulegate replay` does."""

    def read_lines(lines: bytes, folder: Path) -> Trace:
        with trace_files(folder) as files:
            for line in lines.splitlines():
                take(line, files)
            files.keep()
        return read(folder / TRACE, folder / SAMPLES, folder / SETUP)

    return read_lines


def make_settlement(attributor: FakeAttributor) -> Settlement:
    writer = RecordWriter({GPU: Component.GPU}, {"llm": "configured"}, lambda settled, wall: None)
    requests = OpenRequests(lambda id_: id_ == "before")
    return Settlement(attributor, writer, requests, boot="boot")


def at(t: float) -> Nanoseconds:
    return Nanoseconds(round(t * SECOND))


class Clock:
    """A clock that tests move."""

    def __init__(self) -> None:
        self.t = 1_000 * NANO

    def now(self) -> Nanoseconds:
        return Nanoseconds(self.t)


@pytest.fixture
def clock() -> Clock:
    return Clock()
