"""A trace through the settler, on a virtual clock: nothing is seen before its own time."""

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from typing import TypeAlias

from joulegate.attribution import RULES, build
from joulegate.model import (
    DeviceLoad,
    EnergySample,
    Settled,
    SourceFailure,
    SpanChunks,
    SpanEvent,
    SpanId,
    WindowBooks,
)
from joulegate.ports import Attributor
from joulegate.replay.naive import naive_window
from joulegate.replay.result import Books, Result
from joulegate.replay.traces import Trace
from joulegate.units import Nanoseconds, nanoseconds

TICK = nanoseconds(0.5)
"""Time between two looks of the settler at what has come."""
QUIET_TIME = nanoseconds(60)
"""Time after the last input, and the settlement delay, until nothing can change any more."""
METHODS = (*RULES, "window")

Input: TypeAlias = SpanEvent | EnergySample | SourceFailure | DeviceLoad


def replay(trace: Trace, method: str, settle: Nanoseconds) -> Result:
    """Settle a whole trace by one of ``METHODS``."""
    if method == "window":
        return naive_window(trace)
    setup = trace.setup
    settler = build(method, setup.upstreams, setup.devices, settle=settle, idle_power=setup.idle_power)
    figures: dict[SpanId, Settled] = {}
    books = {device.id: Books() for device in setup.devices}

    def note(found: tuple[Iterable[Settled], Iterable[WindowBooks]]) -> None:
        figures.update((figure.id, figure) for figure in found[0] if figure.final)
        for window in found[1]:
            books[window.device].add(window)

    now = Nanoseconds(0)
    for now, inputs in _ticks(trace, settle):
        _feed(settler, inputs)
        note(settler.advance(now))
    note(settler.drain(now))
    gap = Nanoseconds(sum(settler.health(device.id).gap for device in setup.devices))
    return Result(method, {key: figures[key] for key in trace.tasks}, list(books.values()), gap)


def _feed(settler: Attributor, inputs: Iterable[Input]) -> None:
    for one in inputs:
        if isinstance(one, EnergySample | SourceFailure):
            settler.sample(one)
        elif isinstance(one, DeviceLoad):
            settler.load(one)
        else:
            settler.event(one)


def _ticks(trace: Trace, settle: Nanoseconds) -> Iterator[tuple[Nanoseconds, list[Input]]]:
    """Return the instants of the virtual clock and what came since the one before.

    They are counted from the first input, so that a trace that is cut short sees the same ones.
    """
    inputs = sorted([*trace.events, *trace.samples, *trace.loads], key=_time)
    times = [_time(one) for one in inputs]
    quiet = QUIET_TIME + settle
    now, place = times[0] if times else 0, 0
    while place < len(inputs) or (times and now < times[-1] + quiet):
        if place < len(inputs) and times[place] > now + quiet:
            now += (times[place] - now) // TICK * TICK
        now += TICK
        until = bisect_left(times, now, lo=place)
        yield Nanoseconds(now), inputs[place:until]
        place = until


def _time(one: Input) -> Nanoseconds:
    return one.times[0] if isinstance(one, SpanChunks) else one.t
