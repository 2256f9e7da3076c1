"""The whole meter: readings and events in, balanced books on disk out, also after it was killed."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from joulegate import attribution
from joulegate.carbon.table import Options, Plugin
from joulegate.ledger.reader import LedgerReader
from joulegate.ledger.sqlite import Ledger
from joulegate.meter.meter import Meter
from joulegate.meter.sampling.sampler import ReaderHealth
from joulegate.meter.state.meter_state import MeterSetup, Served
from joulegate.model import (
    DeviceId,
    DeviceLoad,
    EnergySample,
    Fact,
    GateReport,
    Outcome,
    Phase,
    SpanClosed,
    SpanId,
    SpanOpened,
    Task,
    TaskFacts,
    UpstreamSetup,
)
from joulegate.units import NANO, Microjoules, Microwatts, Nanoseconds

STEP = 100_000_000
"""ns between readings; each adds 10 J."""
GPU = DeviceId("GPU-0")
SERVED = Served("llm", "http://127.0.0.1:1", devices=(GPU,), model="configured")


class FakeSampler:
    """Delivers what a test says, and one last reading when it is asked how it goes."""

    def __init__(self, deliver: Callable[[Any], None], final: Callable[[], EnergySample]) -> None:
        self.deliver = deliver
        self._final = final
        self._last: EnergySample | None = None
        self.power: Microwatts | None = None
        self.looks = 0
        self.stopped = False

    def start(self) -> None: ...

    def stop(self) -> bool:
        self.stopped = True
        return True

    def health(self) -> Mapping[DeviceId, ReaderHealth]:
        self.looks += 1
        self._last = self._final()
        self.deliver(self._last)
        return {GPU: ReaderHealth(up=True, last=self._last, power=self.power)}


class Host:
    """A host with one GPU whose counter is a function of time, and a clock that tests move."""

    def __init__(self, words: Any) -> None:
        self.t = 1_000 * NANO
        self.origin = self.t
        self.device = words.device

    def now(self) -> Nanoseconds:
        return Nanoseconds(self.t)

    def counter(self, t: int) -> Microjoules:
        return Microjoules((t - self.origin) // STEP * 10_000_000 + 5_000_000)

    def reading(self, t: int) -> EnergySample:
        return EnergySample(GPU, Nanoseconds(t), self.counter(t))

    def meter(
        self, path: Path, *, boot: str = "boot", method: str = "tokens"
    ) -> tuple[Meter, list[FakeSampler]]:
        samplers: list[FakeSampler] = []

        def make(deliver: Callable[[Any], None]) -> FakeSampler:
            samplers.append(FakeSampler(deliver, lambda: self.reading(self.t)))
            return samplers[0]

        ledger = Ledger.open(path)
        attributor = attribution.build(
            method,
            {"llm": UpstreamSetup(devices=(GPU,))},
            [self.device],
            settle=Nanoseconds(NANO),
            idle_power=ledger.reader.idle_power(),
        )
        meter = Meter(
            MeterSetup(devices=(self.device,), upstreams=(SERVED,), method=method, boot=boot),
            attributor,
            ledger,
            sampler=make,
            carbon=Plugin(Options("FRA")),
            now=self.now,
            wall=lambda: Nanoseconds(self.t + 10**18),
        )
        return meter, samplers

    async def pass_time(self, sampler: FakeSampler, seconds: float) -> None:
        for _ in range(round(seconds * NANO / STEP)):
            self.t += STEP
            sampler.deliver(self.reading(self.t))
        await asyncio.sleep(0)

    async def pass_until(self, sampler: FakeSampler, holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(20):
            while not holds():
                await self.pass_time(sampler, 0.1)
                await asyncio.sleep(0.05)


@pytest.fixture
def host(words: Any) -> Host:
    return Host(words)


@asynccontextmanager
async def running(meter: Meter, heard: list[SpanId] | None = None) -> Any:
    stop = asyncio.Event()

    def acknowledge(spans: Mapping[str, Sequence[SpanId]]) -> None:
        for ids in spans.values() if heard is not None else ():
            heard.extend(ids)

    async with asyncio.TaskGroup() as group:
        group.create_task(meter.run(stop, acknowledge))
        async with asyncio.timeout(20):
            while not meter.status().ready:
                await asyncio.sleep(0)
        yield
        stop.set()


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not holds():
            await asyncio.sleep(0.01)


def request(id_: str, start: int, end: int, tokens: int = 50, **closed: Any) -> list[Any]:
    facts = TaskFacts(prompt_tokens=Fact(10), completion_tokens=Fact(tokens))
    return [
        SpanOpened(SpanId(id_), Nanoseconds(start), upstream="llm", protocol="openai", task=Task.CHAT),
        SpanClosed(SpanId(id_), Nanoseconds(end), **({"outcome": Outcome.OK, "facts": facts} | closed)),
    ]


async def test_requests_are_settled_recorded_and_acknowledged(host: Host, tmp_path: Path) -> None:
    """Two requests at once share the counter's energy; gates may forget them when they are on disk."""
    meter, samplers = host.meter(tmp_path / "l.db")
    heard: list[SpanId] = []
    async with running(meter, heard):
        await host.pass_time(samplers[0], 1)
        start = host.t
        await host.pass_time(samplers[0], 2)
        for event in request("a", start, host.t) + request("b", start, host.t, 150):
            meter.event("gate", event)
        await host.pass_time(samplers[0], 4)
        await until(lambda: len(heard) == 2)
        assert meter.is_settled(SpanId("a"))
        record = meter.find("a")
    assert record is not None
    assert record.settled.energy
    assert record.model == "configured"
    assert record.emissions is not None
    assert record.emissions.zone == "FRA"
    status = meter.status()
    assert status.devices[0].conservation_error == 0
    assert status.devices[0].measured == host.counter(host.t) - host.counter(host.origin)
    assert status.devices[0].requests == sum(row.energy for row in status.totals) > 0
    assert (status.pending, status.ready, status.boundary) == (0, False, "gpu")


async def test_a_meter_that_was_killed_goes_on_where_its_books_end(host: Host, tmp_path: Path) -> None:
    """After kill -9 nothing of the counter is lost or counted twice, and told again is not settled again."""
    heard: list[SpanId] = []
    killed = tmp_path / "killed.db"
    first, samplers = host.meter(tmp_path / "l.db")
    async with running(first, heard):
        await host.pass_time(samplers[0], 1)
        done = request("done", host.t, host.t + NANO)
        await host.pass_time(samplers[0], 1)
        for event in done:
            first.event("gate", event)
        await host.pass_time(samplers[0], 3)
        await until(lambda: heard == ["done"])
        # What the copy holds is what a meter leaves behind that is killed now.
        _copy(tmp_path / "l.db", killed)
    open_ = request("open", host.t - NANO // 2, host.t + NANO)
    host.t += 2 * NANO
    second, samplers = host.meter(killed)
    async with running(second, heard):
        for event in [*done, *open_]:
            second.event("gate", event)
        await host.pass_time(samplers[0], 4)
        await host.pass_until(samplers[0], lambda: "open" in heard)
    reader = LedgerReader.open(killed)
    (books,) = reader.books()
    assert (books.error(), reader.count()) == (0, 2)
    assert books.counter == host.counter(host.t) - host.counter(host.origin)
    assert books.requests == books.recorded == sum(e for total in reader.totals() for _, _, e in total.energy)
    reader.close()


def _copy(source: Path, target: Path) -> None:
    for suffix in ("", "-wal"):
        file = Path(f"{source}{suffix}")
        if file.exists():
            Path(f"{target}{suffix}").write_bytes(file.read_bytes())


@pytest.mark.parametrize(("boot", "pause"), [("another", 1), ("boot", 3_600)])
async def test_another_boot_or_a_long_pause_begins_anew(
    host: Host, tmp_path: Path, boot: str, pause: int
) -> None:
    """What was drawn while nobody metered for long is in no account."""
    first, samplers = host.meter(tmp_path / "l.db")
    async with running(first):
        await host.pass_time(samplers[0], 3)
    before = first.status().devices[0].measured
    host.t += pause * NANO
    began = host.t
    second, samplers = host.meter(tmp_path / "l.db", boot=boot)
    async with running(second):
        await host.pass_time(samplers[0], 3)
    after = second.status().devices[0].measured
    assert before > 0
    assert after - before == host.counter(host.t) - host.counter(began)


async def test_what_a_stranger_uses_is_nobodys(host: Host, tmp_path: Path) -> None:
    """A report on processes reaches attribution on the way of the readings."""
    meter, samplers = host.meter(tmp_path / "l.db", method="overlap")
    async with running(meter):
        await host.pass_time(samplers[0], 1)
        opened, closed = request("a", host.t, host.t + 4 * NANO)
        meter.event("gate", opened)
        for _ in range(4):
            await host.pass_time(samplers[0], 1)
            samplers[0].deliver(DeviceLoad(GPU, Nanoseconds(host.t - NANO), host.now(), own=30, foreign=70))
        meter.event("gate", closed)
        await host.pass_until(samplers[0], lambda: meter.is_settled(SpanId("a")))
        record = meter.find("a")
    assert record is not None
    assert record.settled.energy == pytest.approx(0.3 * 4 * 100_000_000, rel=0.1)
    assert dict(meter.status().devices[0].unattributed)["foreign"] >= 0.7 * 4 * 95_000_000


async def test_idle_power_is_known_after_a_restart_under_load(host: Host, tmp_path: Path) -> None:
    """A meter that never sees a quiet moment knows what an earlier one learned."""
    first, samplers = host.meter(tmp_path / "l.db")
    async with running(first):
        await host.pass_until(samplers[0], lambda: first.status().devices[0].idle_power is not None)
    second, samplers = host.meter(tmp_path / "l.db", boot="another")
    async with running(second):
        second.event("gate", request("a", host.t, host.t)[0])
        await host.pass_time(samplers[0], 8)
        idle = second.status().devices[0].idle_power
    assert idle == first.status().devices[0].idle_power == 100_000_000


async def test_a_dead_gates_requests_end(host: Host, tmp_path: Path) -> None:
    """Their energy does not wait for an end that nobody will tell."""
    meter, samplers = host.meter(tmp_path / "l.db")
    async with running(meter):
        meter.gate_connected(GateReport("gate", 1, in_flight=(("llm", 1),)))
        await host.pass_time(samplers[0], 1)
        opened, _ = request("a", host.t, host.t)
        meter.event("gate", opened)
        assert meter.status().upstreams[0].in_flight == 1
        await host.pass_time(samplers[0], 1)
        meter.gate_lost("gate")
        await host.pass_time(samplers[0], 4)
        await until(lambda: meter.status().ledger is not None and meter.status().ledger.rows == 1)
        record = meter.find("a")
    assert record is not None
    assert record.outcome is Outcome.ORPHANED
    assert dict(meter.status().devices[0].unattributed)["crash"] > 0


async def test_a_fault_in_attribution_ends_nothing(
    host: Host, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is said once; the meter goes on and answers."""

    class Faulty:
        def __getattr__(self, name: str) -> Any:
            raise ZeroDivisionError

        def health(self, device: DeviceId) -> Any:
            return attribution.build(
                "tokens", {}, [host.device], settle=Nanoseconds(1), idle_power={}
            ).health(device)

    samplers: list[FakeSampler] = []

    def make(deliver: Callable[[Any], None]) -> FakeSampler:
        samplers.append(FakeSampler(deliver, lambda: host.reading(host.t)))
        return samplers[0]

    setup = MeterSetup(devices=(host.device,), upstreams=(SERVED,), method="tokens")
    meter = Meter(setup, Faulty(), Ledger.open(tmp_path / "l.db"), sampler=make, now=host.now)
    async with running(meter):
        await host.pass_time(samplers[0], 1)
        for event in request("a", host.t, host.t):
            meter.event("gate", event)
        await asyncio.sleep(0)
        assert meter.status().ready
        assert meter.status().degraded == "settlement failed: see the log"
    assert capsys.readouterr().out.count("settlement.failed") == 1


async def test_drain_waits_for_the_gates_and_a_last_reading(host: Host, tmp_path: Path) -> None:
    """What gates tell while they leave is still settled."""
    meter, samplers = host.meter(tmp_path / "l.db")
    stop = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        group.create_task(meter.run(stop, lambda ids: None))
        await until(lambda: meter.status().ready)
        meter.gate_connected(GateReport("gate", 1))
        await host.pass_time(samplers[0], 1)
        start = host.t
        stop.set()
        await until(lambda: not meter.status().ready)
        await host.pass_time(samplers[0], 1)
        for event in request("late", start, host.t):
            meter.event("gate", event)
        meter.gate_lost("gate")
    assert samplers[0].stopped
    reader = LedgerReader.open(tmp_path / "l.db")
    late = reader.find("late")
    assert late is not None
    assert late.settled.energy
    reader.close()


async def test_a_device_that_works_on_without_a_client_is_noticed(host: Host, tmp_path: Path) -> None:
    """Five seconds after its only client has left, the device is as busy as before: the server is named."""
    meter, samplers = host.meter(tmp_path / "ledger.db")
    async with running(meter):
        (sampler,) = samplers
        for watts, events in ((70, 0), (300, 1), (300, 2)):
            sampler.power = Microwatts(watts * 10**6)
            for event in request("a", host.t, host.t, outcome=Outcome.CANCELLED, phase=Phase.RESPONSE)[
                :events
            ]:
                meter.event("g", event)
            seen = sampler.looks
            await until(lambda seen=seen: sampler.looks > seen + 1)
            assert meter.status().upstreams[0].keeps_working is None
        host.t += 6 * NANO
        await until(lambda: meter.status().upstreams[0].keeps_working is True)
