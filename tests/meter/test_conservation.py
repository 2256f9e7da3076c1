"""Energy is counted once and none is lost, over many requests, whatever dies in between.

A gate's own memory of events and the meter's register, settlement, sums and ledger work together here on a
clock of the test. Requests end, fail, are left by their clients or lose their gate; counters restart and go
silent; the meter is killed, with or without its last settlements on disk, and a new one goes on from there.
"""

import random
from pathlib import Path

import pytest
from msgspec import Raw

from joulegate.attribution import build
from joulegate.budgets.windows import Budgets
from joulegate.channel.frames import VERSION, Events, Hello
from joulegate.channel.gathering import Gathering
from joulegate.channel.register import ConnectedGate as Peer
from joulegate.channel.register import GateRegister
from joulegate.channel.retained import Bounds, Retained
from joulegate.ledger.sqlite import Ledger
from joulegate.meter.requests.open_requests import OpenRequests
from joulegate.meter.requests.record_writer import RecordWriter
from joulegate.meter.requests.settlement import Settlement, Settlements
from joulegate.meter.totals.results import Results
from joulegate.model import (
    Asked,
    Component,
    Device,
    DeviceId,
    EnergySample,
    Fact,
    GateReport,
    Outcome,
    SourceFailure,
    SpanChunks,
    SpanClosed,
    SpanEvent,
    SpanId,
    SpanOpened,
    Task,
    TaskFacts,
    Tier,
    UpstreamSetup,
)
from joulegate.units import NANO, Microjoules, Nanoseconds

DEVICES = [Device(DeviceId(f"gpu{n}"), n, "test", "fake", Tier.COUNTER) for n in range(2)]
UPSTREAMS = {
    "one": UpstreamSetup("llm", (DEVICES[0].id,)),
    "two": UpstreamSetup("llm", (DEVICES[1].id,)),
    "both": UpstreamSetup("llm", tuple(device.id for device in DEVICES)),
}
TICK = 0.25
ENDS = [Outcome.OK] * 6 + [Outcome.CANCELLED, Outcome.UPSTREAM_ERROR]
ENDS += [Outcome.UPSTREAM_RESET, Outcome.CLIENT_ERROR]


def ns(t: float) -> Nanoseconds:
    return Nanoseconds(round(t * NANO))


class Host:
    """The devices: counters that rise unevenly, restart and fall silent."""

    def __init__(self, rng: random.Random, *, restarts: bool) -> None:
        self._rng = rng
        self._restarts = restarts
        self._counters = {device.id: rng.randrange(10**9) for device in DEVICES}
        self._silent = {device.id: 0.0 for device in DEVICES}
        self.shown: dict[DeviceId, int] = {}
        self.risen = {device.id: 0 for device in DEVICES}
        """Microjoules between readings that follow one another without a restart."""

    def read(self, t: float) -> list[EnergySample | SourceFailure]:
        found: list[EnergySample | SourceFailure] = []
        for device in self._counters:
            self._counters[device] += self._rng.randrange(1_000_000, 40_000_000)
            if self._rng.random() < 1e-3:
                self._silent[device] = t + self._rng.uniform(0.2, 4)
            if self._restarts and self._rng.random() < 3e-4:
                self._counters[device] = self._rng.randrange(1000)
                self.shown.pop(device, None)
            found.append(self._reading(device, t))
        return found

    def _reading(self, device: DeviceId, t: float) -> EnergySample | SourceFailure:
        if t < self._silent[device]:
            return SourceFailure(device, ns(t), "silent")
        counter = self._counters[device]
        self.risen[device] += counter - self.shown.get(device, counter)
        self.shown[device] = counter
        return EnergySample(device, ns(t), counter=Microjoules(counter))


class ConnectedGate:
    """One gate process: what it tells, and what it keeps until that is settled."""

    def __init__(self, name: str, life: int = 1) -> None:
        self.name = name
        self.life = life
        self.retained = Retained(Bounds())
        self._gathering = Gathering()
        self._unsent: list[int] = []

    def emit(self, event: SpanEvent) -> None:
        self._keep(self._gathering.take(event))

    def batch(self) -> Events:
        """Give what is to be sent, as the sender does after each moment."""
        self._keep(self._gathering.moment())
        return self._events(self._take())

    def again(self) -> Events:
        """Give all that is kept: there is a new meter."""
        self._unsent = []
        return self._events(self.retained.sequences())

    def _keep(self, events) -> None:
        for event in events:
            if (number := self.retained.add(event)) is not None:
                self._unsent.append(number)

    def _take(self) -> list[int]:
        numbers, self._unsent = self._unsent, []
        return numbers

    def _events(self, numbers: list[int]) -> Events:
        kept = [(number, self.retained.get(number)) for number in numbers]
        return Events([(number, Raw(packed)) for number, packed in kept if packed is not None])


class Meter:
    """One life of a meter on a ledger."""

    def __init__(self, path: Path, gates: dict[str, ConnectedGate], now: float) -> None:
        self.ledger = Ledger.open(path)
        self.attributor = build("auto", UPSTREAMS, DEVICES, settle=ns(3), idle_power={})
        self.results = Results(self.ledger, Budgets(()), ())
        self.results.restore(DEVICES)
        writer = RecordWriter({}, {}, lambda *_: None)
        requests = OpenRequests(self.ledger.settled, began=ns(now))
        self.settlement = Settlement(self.attributor, writer, requests, boot="b")
        for reading in self.ledger.reader.readings():
            self.settlement.sample(EnergySample(reading.device, reading.t, counter=reading.counter))
        self.register = GateRegister(self)
        self._gates = gates
        self._acknowledged: list[SpanId] = []
        self.ledger.start(self._acknowledged.extend)
        self.peers: dict[str, Peer] = {}
        self.now = now
        for gate in gates.values():
            self.welcome(gate)
            self.hear(gate, gate.again())

    def welcome(self, gate: ConnectedGate) -> None:
        self.peers[gate.name] = self.register.hello(
            Hello(f"{gate.name}-{gate.life}", GateReport(gate.name, 1), VERSION), bytes
        )

    def hear(self, gate: ConnectedGate, events: Events) -> None:
        self.register.events(self.peers[gate.name], events)

    def lose(self, gate: ConnectedGate) -> None:
        """Learn that a gate is dead."""
        peer = self.peers.pop(gate.name)
        self.register.left(peer, peer.connections)
        self.register.lose(peer)

    def step(self, now: float, *, dies: bool = False) -> None:
        """Settle; a meter that dies now loses what this brought."""
        self.now = now
        new = self.settlement.advance(ns(now), ns(now))
        self.take(new, dies=dies)

    def take(self, new: Settlements, *, dies: bool = False) -> None:
        assert not new.unbalanced
        if not dies:
            self.results.take(new, {one.id: self.attributor.health(one.id) for one in DEVICES})
        ids, self._acknowledged[:] = list(self._acknowledged), []
        for name, own in self.settlement.written(ids).items():
            self._gates[name].retained.settle(own)

    def gate_connected(self, report: GateReport) -> None:
        """Nothing comes of it here."""

    gate_reported = gate_connected

    def gate_lost(self, gate: str) -> None:
        self.settlement.gate_lost(gate, ns(self.now))

    def event(self, gate: str, event: SpanEvent, earliest: Nanoseconds | None = None) -> bool:
        return self.settlement.event(gate, event, earliest)

    def is_settled(self, id_: SpanId) -> bool:
        return self.settlement.requests.is_settled(id_)


class Campaign:
    """A run of so many requests."""

    def __init__(self, path: Path, requests: int, seed: int, *, restarts: bool, deaths: float) -> None:
        self.deaths = deaths
        """Chance that a meter dies in one tick, and half of that a gate."""
        self.rng = random.Random(seed)
        self.path = path
        self.host = Host(self.rng, restarts=restarts)
        self.gates = {name: ConnectedGate(name) for name in ("gate-0", "gate-1")}
        self.requests = requests
        self.opened = 0
        self.lives = 1
        self.at_risk = 0
        """Requests that nobody can tell a new meter of, for their gate is dead."""
        self._open: dict[SpanId, tuple[float, str, int]] = {}
        self._sums = (0, 0, 0)

    def run(self) -> Ledger:
        """Give the ledger at the end."""
        now, meter = 0.0, Meter(self.path, self.gates, 0.0)
        while self.opened < self.requests or self._open:
            now += TICK
            for part in range(5):
                for reading in self.host.read(now - TICK + part * TICK / 5):
                    meter.settlement.sample(reading)
            self._traffic(now)
            if self.rng.random() < self.deaths / 2:
                self._lose_a_gate(meter)
            for gate in self.gates.values():
                meter.hear(gate, gate.batch())
            # A first meter that has booked nothing leaves nothing to go on from.
            dies = self.rng.random() < self.deaths and bool(meter.results.accounts.all())
            meter.step(now, dies=dies and self.rng.random() < 0.5)
            if dies:
                meter = self._restarted(meter, now)
        for gate in self.gates.values():
            meter.hear(gate, gate.batch())
            meter.hear(gate, gate.batch())
        for _ in range(4):
            now += TICK
            for reading in self.host.read(now):
                meter.settlement.sample(reading)
        meter.take(meter.settlement.drain(ns(now), ns(now)))
        assert meter.ledger.flush(60)
        return meter.ledger

    def _traffic(self, now: float) -> None:
        for _ in range(min(round(400 * TICK), self.requests - self.opened)):
            key, gate = SpanId(f"r{self.opened}"), self.rng.choice(list(self.gates))
            asked = Asked(stream=self.rng.random() < 0.2, max_tokens=self.rng.choice([None, 64]))
            start = now - self.rng.uniform(0, TICK)
            upstream = self.rng.choice(["one", "two", "both", "nowhere" if self.opened % 50 == 0 else "one"])
            self.gates[gate].emit(
                SpanOpened(key, ns(start), upstream, "x", Task.CHAT, asked=asked, body_bytes=300)
            )
            self._open[key] = (start + self.rng.expovariate(4.0), gate, int(bool(asked.stream)))
            self.opened += 1
        for key in [key for key, (end, _, _) in self._open.items() if end <= now]:
            self._end(key, *self._open.pop(key))

    def _end(self, key: SpanId, end: float, gate: str, streams: int) -> None:
        out, outcome = self.rng.randrange(1, 40), self.rng.choice(ENDS)
        if streams:
            times = sorted(ns(end - self.rng.uniform(0, 0.2)) for _ in range(out))
            self.gates[gate].emit(SpanChunks(key, times, [4] * out))
        facts = TaskFacts(prompt_tokens=Fact(self.rng.randrange(1, 500)), completion_tokens=Fact(out))
        left = ns(end - 0.05) if outcome is Outcome.CANCELLED else None
        self.gates[gate].emit(
            SpanClosed(key, ns(end), outcome, 200, streamed=bool(streams), facts=facts, client_left=left)
        )

    def _lose_a_gate(self, meter: Meter) -> None:
        """Kill a gate once the meter has heard of all its requests, and start it anew."""
        gate = self.rng.choice(list(self.gates.values()))
        meter.hear(gate, gate.batch())
        meter.hear(gate, gate.batch())
        meter.lose(gate)
        self.at_risk += gate.retained.spans
        self._open = {key: one for key, one in self._open.items() if one[1] != gate.name}
        self.gates[gate.name] = ConnectedGate(gate.name, gate.life + 1)
        meter.welcome(self.gates[gate.name])

    def _restarted(self, meter: Meter, now: float) -> Meter:
        meter.ledger.close()
        self.lives += 1
        after = Meter(self.path, self.gates, now)
        books = after.ledger.reader.books()
        sums = tuple(sum(getattr(one, name) for one in books) for name in ("counter", "requests", "idle"))
        assert all(one.error() == 0 for one in books)
        assert all(later >= earlier for earlier, later in zip(self._sums, sums, strict=True))
        self._sums = sums
        return after


def check(campaign: Campaign, ledger: Ledger, *, restarts: bool) -> None:
    books = {one.device: one for one in ledger.reader.books()}
    assert [one.error() for one in books.values()] == [0, 0]
    told = sum(part for total in ledger.reader.totals() for _, _, part in total.energy)
    assert told == sum(one.requests for one in books.values())
    assert 0 <= campaign.requests - ledger.reader.count() <= campaign.at_risk
    assert campaign.lives > 1
    for device, one in books.items():
        assert 0 < one.counter <= campaign.host.risen[device]
        assert restarts or one.counter == campaign.host.risen[device]
    assert {Component.GPU} == {part for total in ledger.reader.totals() for part, _, _ in total.energy}


@pytest.mark.parametrize(("requests", "restarts"), [(3_000, False), (10_000, True)])
def test_thousands_of_requests(tmp_path: Path, requests: int, restarts: bool) -> None:
    """Their books close to the microjoule, each is recorded once, and the sums only grew."""
    campaign = Campaign(
        tmp_path / "ledger.db", requests, seed=1, restarts=restarts, deaths=0.1 if requests < 5_000 else 0.04
    )
    ledger = campaign.run()
    check(campaign, ledger, restarts=restarts)
    ledger.close()


@pytest.mark.nightly
def test_a_million_requests(tmp_path: Path) -> None:
    """The same, a hundred times as long."""
    campaign = Campaign(tmp_path / "ledger.db", 1_000_000, seed=2, restarts=True, deaths=0.004)
    ledger = campaign.run()
    print(f"{campaign.requests} requests, {campaign.lives} meters, {ledger.reader.books()}")
    check(campaign, ledger, restarts=True)
    ledger.close()
