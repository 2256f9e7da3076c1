"""What the meter costs, from the frames of a gate to the ledger: `python bench/settlement.py [--shape …]`.

Two shapes: streams of about 60 chunks, 200 a second, and answers in one piece, 4,000 a second. Each goes
through attribution alone and then through the whole meter (frames, settlement, sums, ledger in memory), in
one process, on a clock of its own. Figures are processor time, and the resident memory of open streams.
"""

import argparse
import cProfile
import pstats
import random
import time
from collections.abc import Callable, Iterator, Sequence

import psutil
from msgspec import Raw, Struct

from joulegate import plugins
from joulegate.app.memory import collect_seldom
from joulegate.attribution import build
from joulegate.budgets.windows import Budgets
from joulegate.channel.frames import VERSION, Events, Hello, pack_event
from joulegate.channel.gathering import Gathering
from joulegate.channel.register import GateRegister
from joulegate.ledger.sqlite import Ledger
from joulegate.meter.requests.open_requests import OpenRequests
from joulegate.meter.requests.record_writer import RecordWriter
from joulegate.meter.requests.settlement import Settlement
from joulegate.meter.totals.results import Results
from joulegate.model import (
    Asked,
    Device,
    DeviceId,
    EnergySample,
    Fact,
    GateReport,
    Outcome,
    SpanChunks,
    SpanClosed,
    SpanEvent,
    SpanFirstByte,
    SpanId,
    SpanOpened,
    Task,
    TaskFacts,
    Tier,
    UpstreamSetup,
)
from joulegate.ports import Attributor
from joulegate.units import NANO, Microjoules, Nanoseconds

GPU = DeviceId("gpu0")
DEVICE = Device(GPU, 0, "bench", "fake", Tier.COUNTER)
SETUP = {"llm": UpstreamSetup("llm", (GPU,))}
STEP, TICK, FLUSH, POLL = 0.01, 0.25, 0.05, 0.05
Told = tuple[float, SpanEvent]
"""When an event comes, in s, and the event."""


class Shape(Struct, frozen=True):
    """One kind of traffic."""

    rate: float
    """Requests a second."""
    seconds: float
    request: Callable[[int, float, random.Random], Iterator[Told]]


class Cost(Struct):
    """What a run took."""

    used: float
    """Processor s of all threads."""
    slowest: float
    """Of the slowest call of ``advance``, in s."""


def stream(place: int, start: float, rng: random.Random) -> Iterator[Told]:
    """Return a stream of about 60 chunks, told of at most 64 at a time."""
    key, out = SpanId(f"{place:032x}"), rng.randint(20, 100)
    first = (start // STEP + 3) * STEP
    times = [first + i * STEP + rng.uniform(0, 0.001) for i in range(out)]
    asked = Asked(stream=True)
    yield start, SpanOpened(key, ns(start), "llm", "openai", Task.CHAT, asked=asked, body_bytes=900)
    yield times[0], SpanFirstByte(key, ns(times[0]))
    for low in range(0, out, 64):
        part = times[low : low + 64]
        yield part[-1], SpanChunks(key, [ns(t) for t in part], [4] * len(part))
    yield times[-1] + 0.002, closed(key, times[-1] + 0.002, 200, out, streamed=True)


def whole(place: int, start: float, rng: random.Random) -> Iterator[Told]:
    """Return an answer in one piece."""
    key, end = SpanId(f"{place:032x}"), start + rng.uniform(0.008, 0.02)
    asked = Asked(model="bench")
    yield start, SpanOpened(key, ns(start), "llm", "openai", Task.CHAT, asked=asked, body_bytes=120)
    yield end, SpanFirstByte(key, ns(end))
    yield end, closed(key, end, 21, 180)


def closed(key: SpanId, t: float, prompt: int, out: int, *, streamed: bool = False) -> SpanClosed:
    return SpanClosed(
        key,
        ns(t),
        Outcome.OK,
        200,
        streamed=streamed,
        facts=TaskFacts(prompt_tokens=Fact(prompt), completion_tokens=Fact(out)),
        model="bench",
        response_bytes=4 * out,
        overhead_request=ns(0.0001),
        overhead_response=ns(0.0001),
    )


SHAPES = {"streams": Shape(200, 60, stream), "whole answers": Shape(4000, 15, whole)}


def ns(t: float) -> Nanoseconds:
    return Nanoseconds(round(t * NANO))


def traffic(shape: Shape) -> list[Told]:
    """Return all events in the order of time."""
    rng = random.Random(1)
    found = [
        told
        for place in range(round(shape.rate * shape.seconds))
        for told in shape.request(place, rng.uniform(0, shape.seconds), rng)
    ]
    return sorted(found, key=lambda told: told[0])


def parcels(events: Sequence[Told]) -> Iterator[tuple[float, Events]]:
    """Return the batches in which a gate tells of events."""
    gathering, number, at, t = Gathering(), 0, 0, FLUSH
    while at < len(events) or gathering:
        told = []
        while at < len(events) and events[at][0] <= t:
            told += gathering.take(events[at][1])
            at += 1
        told += gathering.moment()
        packed = [Raw(pack_event(event)) for event in told]
        yield t, Events([(number + place, one) for place, one in enumerate(packed, 1)])
        number += len(packed)
        t += FLUSH


def attribution(events: Sequence[Told], settle: float, until: float, method: str) -> Cost:
    """Run events through attribution alone."""
    settler = build(method, SETUP, [DEVICE], settle=ns(settle), idle_power={})
    waiting = iter([*events, (until + TICK, None)])
    t, event = next(waiting)

    def feed(now: float) -> None:
        nonlocal t, event
        while t <= now and event is not None:
            settler.event(event)
            t, event = next(waiting)

    return _run(until, feed, settler.sample, lambda now: settler.advance(ns(now)))


class Books:
    """What a meter does with the events of its gates: settlement, sums and ledger."""

    def __init__(self, attributor: Attributor) -> None:
        self.ledger = Ledger.open(":memory:")
        self._attributor = attributor
        self._results = Results(self.ledger, Budgets(()), [plugins.build(plugins.EXPORTERS, "prometheus")])
        writer = RecordWriter({}, {}, lambda *_: None)
        requests = OpenRequests(self.ledger.settled, began=ns(-1))
        self.settlement = Settlement(attributor, writer, requests, boot="bench")
        self.register = GateRegister(self)
        self._written: list[SpanId] = []
        self.ledger.start(self._written.extend)

    def gate_connected(self, report: GateReport) -> None:
        """There is one gate."""

    def gate_reported(self, report: GateReport) -> None:
        """There is one gate."""

    def gate_lost(self, gate: str) -> None:
        """It does not die."""

    def event(self, gate: str, event: SpanEvent, earliest: Nanoseconds | None = None) -> bool:
        return self.settlement.event(gate, event, earliest)

    def is_settled(self, id_: SpanId) -> bool:
        return self.settlement.requests.is_settled(id_)

    def advance(self, now: float) -> None:
        written, self._written[:] = list(self._written), []
        self.register.settled(self.settlement.written(written))
        self._results.take(self.settlement.advance(ns(now), ns(now)), {GPU: self._attributor.health(GPU)})


def meter(events: Sequence[Told], settle: float, until: float, method: str) -> Cost:
    """Run the frames of a gate through all that a meter does with them."""
    books = Books(build(method, SETUP, [DEVICE], settle=ns(settle), idle_power={}))
    gate = books.register.hello(Hello("bench", GateReport("gate-0", 1), VERSION), bytes)
    waiting = iter([*parcels(events), (until + TICK, None)])
    t, batch = next(waiting)

    def feed(now: float) -> None:
        nonlocal t, batch
        while t <= now and batch is not None:
            books.register.events(gate, batch)
            t, batch = next(waiting)

    cost = _run(until, feed, books.settlement.sample, books.advance)
    books.ledger.close()
    return cost


def _run(
    until: float,
    feed: Callable[[float], None],
    sample: Callable[[EnergySample], None],
    advance: Callable[[float], object],
) -> Cost:
    collect_seldom()  # as the meter's process does
    began, slowest = time.process_time(), 0.0
    for tick in range(1, round(until / TICK) + 1):
        now = tick * TICK
        for poll in range(round(TICK / POLL)):
            t = now - TICK + poll * POLL
            sample(EnergySample(GPU, ns(t), counter=Microjoules(round(500e6 * t))))
        feed(now)
        before = time.thread_time()
        advance(now)
        slowest = max(slowest, time.thread_time() - before)
    return Cost(time.process_time() - began, slowest)


def open_stream(streams: int = 1000, seconds: int = 4) -> float:
    """Return the KiB that an open stream of 50 chunks a second takes of a meter."""
    settler = build("step-clock", SETUP, [DEVICE], settle=ns(30), idle_power={})
    before = 0
    for number in range(-100, streams):
        if number == 0:
            before = psutil.Process().memory_info().rss
        key = SpanId(f"{number:032x}")
        asked = Asked(stream=True, model="bench")
        settler.event(SpanOpened(key, ns(1), "llm", "openai", Task.CHAT, asked=asked, body_bytes=900))
        for second in range(1, seconds + 1):
            times = [ns(second + i / 50) for i in range(50)]
            settler.event(SpanChunks(key, times, [200] * 50))
    return (psutil.Process().memory_info().rss - before) / 1024 / streams


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--shape", choices=SHAPES, nargs="*", default=list(SHAPES))
    parser.add_argument("--rate", type=float, help="requests a second in place of the shape's")
    parser.add_argument("--seconds", type=float, help="of traffic, in place of the shape's")
    parser.add_argument("--settle", type=float, default=30)
    parser.add_argument("--method", default="step-clock")
    parser.add_argument("--profile", action="store_true")
    args = parser.parse_args()
    print(f"an open stream of 50 chunks a second, after 4 s: {open_stream():.1f} KiB in attribution")
    print("| shape | through | % of a core | us a request | slowest call, ms |\n|---|---|---|---|---|")
    profile = cProfile.Profile()
    for name in args.shape:
        shape = SHAPES[name]
        shape = Shape(args.rate or shape.rate, args.seconds or shape.seconds, shape.request)
        events, until = traffic(shape), shape.seconds + args.settle + 15
        for run in (attribution, meter):
            if args.profile:
                profile.enable()
            cost = run(events, args.settle, until, args.method)
            profile.disable()
            requests = shape.rate * shape.seconds
            print(
                f"| {name}, {shape.rate:.0f}/s | {run.__name__} | {100 * cost.used / shape.seconds:.1f} "
                f"| {1e6 * cost.used / requests:.0f} | {1000 * cost.slowest:.0f} |",
                flush=True,
            )
    if args.profile:
        pstats.Stats(profile).sort_stats("cumulative").print_stats(45)


if __name__ == "__main__":
    main()
