"""Makers of events, readings and settlers for the tests of attribution."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pytest
from msgspec import Struct

from joulegate.attribution import build
from joulegate.attribution.features.placed_work import PlacedWork
from joulegate.attribution.features.step_clock import StepClock, Streams
from joulegate.attribution.input.request import RequestInput
from joulegate.model import (
    Asked,
    Device,
    DeviceId,
    EnergySample,
    Fact,
    Outcome,
    Settled,
    SpanChunks,
    SpanClosed,
    SpanId,
    SpanOpened,
    Task,
    TaskFacts,
    Tier,
    UpstreamSetup,
    WindowBooks,
)
from joulegate.ports import Attributor
from joulegate.units import MICRO, NANO, Microjoules, Microwatts, Nanoseconds


def ns(seconds: float) -> Nanoseconds:
    return Nanoseconds(round(seconds * NANO))


class Make:
    """Short ways to write down what happened; times in s, energy in J."""

    ns = staticmethod(ns)

    def device(self, index: int = 0, limit: float | None = None) -> Device:
        return Device(
            id=DeviceId(f"gpu{index}"),
            index=index,
            name="test",
            source="fake",
            tier=Tier.COUNTER,
            power_limit=None if limit is None else Microwatts(round(limit * MICRO)),
        )

    def reading(self, t: float, joules: float, index: int = 0) -> EnergySample:
        return EnergySample(DeviceId(f"gpu{index}"), ns(t), counter=Microjoules(round(joules * MICRO)))

    def opened(self, key: str, t: float, upstream: str = "llm", **asked: int | bool) -> SpanOpened:
        return SpanOpened(
            SpanId(key), ns(t), upstream, "openai", Task.CHAT, asked=Asked(**asked), body_bytes=400
        )

    def chunks(self, key: str, times: Sequence[float]) -> SpanChunks:
        return SpanChunks(SpanId(key), [ns(t) for t in times], [4] * len(times))

    def closed(
        self,
        key: str,
        t: float,
        prompt: int | None = None,
        out: int | None = None,
        outcome: Outcome = Outcome.OK,
    ) -> SpanClosed:
        facts = TaskFacts(
            prompt_tokens=None if prompt is None else Fact(prompt),
            completion_tokens=None if out is None else Fact(out),
        )
        return SpanClosed(SpanId(key), ns(t), outcome, 200, facts=facts, response_bytes=4 * (out or 0))

    def placed(self, *spans: RequestInput, **columns: float) -> PlacedWork:
        """Work of equal requests."""
        usual = {"start": 0, "prefilled": 1, "end": 2, "prompt": 100, "context": 100, "prefill_steps": 1}
        usual |= {"out": 50, "steps": 50} | columns
        clock = StepClock(
            Streams(*[np.empty(0, dtype=np.int64)] * 4), usual["start"] - 1, usual["end"] + 1, None
        )
        marks = {name: np.zeros(len(spans), dtype=bool) for name in ("guessed", "doubtful", "unsure")}
        numbers = {name: np.full(len(spans), float(value)) for name, value in usual.items()}
        return PlacedWork(requests=list(spans), clock=clock, **numbers, **marks)


class Run(Struct):
    """What came out of a settler."""

    settled: dict[str, Settled]
    """Final figures."""
    provisional: dict[str, Settled]
    windows: list[WindowBooks]

    def add(self, found: tuple[Sequence[Settled], Sequence[WindowBooks]]) -> None:
        for figure in found[0]:
            (self.settled if figure.final else self.provisional)[figure.id] = figure
        self.windows.extend(found[1])


class Bench:
    """A settler and the ways to drive it."""

    def __init__(
        self,
        method: str,
        upstreams: Mapping[str, UpstreamSetup],
        devices: Sequence[Device],
        settle: float = 30,
    ) -> None:
        self.settler: Attributor = build(method, upstreams, devices, settle=ns(settle), idle_power={})
        self.run = Run({}, {}, [])

    def feed(self, inputs: Sequence[object]) -> None:
        for one in inputs:
            if isinstance(one, EnergySample):
                self.settler.sample(one)
            else:
                self.settler.event(one)  # type: ignore[arg-type]

    def advance(self, t: float) -> None:
        self.run.add(self.settler.advance(ns(t)))

    def drain(self, t: float) -> Run:
        self.run.add(self.settler.drain(ns(t)))
        return self.run


@pytest.fixture
def make() -> Make:
    return Make()


@pytest.fixture
def bench(make: Make) -> Callable[..., Bench]:
    def one_device(
        method: str = "tokens", devices: int = 1, settle: float = 30, **upstreams: UpstreamSetup
    ) -> Bench:
        found = [make.device(index) for index in range(devices)]
        setups = upstreams or {"llm": UpstreamSetup("llm", tuple(device.id for device in found))}
        return Bench(method, setups, found, settle)

    return one_device
