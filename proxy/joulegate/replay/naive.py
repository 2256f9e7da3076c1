"""The naive window: the counter at a request's end minus the counter at its start.

It counts each joule once for every request that was open, so its books cannot close. It is here to show by
how much: the over-count stands in ``unattributed``, as a negative number.
"""

from joulegate.attribution.input.timeline import Timeline
from joulegate.model import EnergySample, Method, Settled, SpanClosed, SpanId, SpanOpened
from joulegate.replay.result import Books, Result
from joulegate.replay.traces import Trace
from joulegate.units import Microjoules, Nanoseconds


class _Request:
    def __init__(self, opened: SpanOpened) -> None:
        self.start = opened.t
        self.end = self.start
        self.upstream = opened.upstream


def naive_window(trace: Trace) -> Result:
    """Charge each request the whole energy of its devices while it was open."""
    lines = _timelines(trace)
    requests = _requests(trace)
    books, energies = [], dict[SpanId, int | None](dict.fromkeys(requests))
    for line in lines:
        mine = {
            key: one
            for key, one in requests.items()
            if line.device.id in trace.setup.upstreams[one.upstream].devices
        }
        books.append(_charge(line, mine, energies))
    gap = Nanoseconds(sum(line.gap for line in lines))
    settled = {key: _settled(key, energy) for key, energy in energies.items()}
    return Result("window", settled, books, gap)


def _timelines(trace: Trace) -> list[Timeline]:
    lines = {device.id: Timeline(device) for device in trace.setup.devices}
    for sample in trace.samples:
        if isinstance(sample, EnergySample):
            lines[sample.device].add(sample)
    return list(lines.values())


def _requests(trace: Trace) -> dict[SpanId, _Request]:
    found: dict[SpanId, _Request] = {}
    for event in trace.events:
        if isinstance(event, SpanOpened):
            found[event.id] = _Request(event)
        elif isinstance(event, SpanClosed):
            found[event.id].end = event.t
    return found


def _charge(line: Timeline, requests: dict[SpanId, _Request], energies: dict[SpanId, int | None]) -> Books:
    books = Books(counter=line.totals[-1] if line.totals else 0)
    for key, one in requests.items():
        if not _known(line, one):
            continue
        energy = line.energy(one.end) - line.energy(one.start)
        energies[key] = (energies[key] or 0) + energy
        books.requests += energy
    books.idle = books.counter - _covered(line, list(requests.values()))
    books.unattributed = books.counter - books.requests - books.idle
    return books


def _known(line: Timeline, one: _Request) -> bool:
    """Whether the energy of any part of a request is known."""
    if not line.times or one.end < line.times[0] or one.start > line.times[-1]:
        return False
    span = max(one.end - one.start, 1)
    return line.gap_within(one.start, one.end) < span


def _covered(line: Timeline, requests: list[_Request]) -> int:
    """Return the energy while at least one request was open."""
    total, until = 0, Nanoseconds(-1)
    for one in sorted(requests, key=lambda one: one.start):
        start = max(one.start, until)
        if one.end > start:
            total += line.energy(one.end) - line.energy(start)
            until = one.end
    return total


def _settled(key: SpanId, energy: int | None) -> Settled:
    method = Method.UNMEASURED if energy is None else Method.WINDOW
    return Settled(key, None if energy is None else Microjoules(energy), None, method, final=True)
