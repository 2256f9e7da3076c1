"""Looks at the processes on devices: rare, and never in the way of a reading."""

from collections.abc import Mapping, Sequence

import pytest

from joulegate.meter.sampling.foreign_processes import (
    ALONE,
    BESIDE,
    LONGEST,
    OWN_KNOWN,
    DeviceProcesses,
    ForeignProcesses,
)
from joulegate.meter.sampling.sampler import ReaderHealth
from joulegate.model import DeviceId, DeviceLoad, ProcessUse
from joulegate.testing.source import ScriptedSource, gpu
from joulegate.units import NANO, Nanoseconds

GPU = gpu().id
SERVER, WORKER, STRANGER = 10, 11, 99


def at(t: float) -> Nanoseconds:
    return Nanoseconds(round(t * NANO))


def uses(**percent: int) -> list[ProcessUse]:
    pids = {"server": SERVER, "worker": WORKER, "stranger": STRANGER}
    return [ProcessUse(pids[name], share) for name, share in percent.items()]


class Owners:
    """Says who belongs to an upstream, and counts how often it was asked."""

    def __init__(self, own: frozenset[int] | None = frozenset({SERVER, WORKER})) -> None:
        self.own = own
        self.asked = 0

    def __call__(self, pids: Sequence[int]) -> frozenset[int] | None:
        self.asked += 1
        return self.own


def test_a_stranger_is_reported_with_what_the_upstreams_use() -> None:
    """Two processes of one upstream are not strangers to one another."""
    company = DeviceProcesses(GPU, Owners())
    assert company.take(at(1), uses(server=30, worker=20, stranger=40)) is None, "since when is not known"
    load = company.take(at(2), uses(server=30, worker=20, stranger=40))
    assert load == DeviceLoad(GPU, at(1), at(2), own=50, foreign=40)
    assert company.due == at(2) + BESIDE


def test_a_device_of_its_own_is_looked_at_rarely_and_not_told_of() -> None:
    """Calls that take the driver's lock are made only as often as they say something."""
    company = DeviceProcesses(GPU, Owners())
    for t in (1, 6):
        assert company.take(at(t), uses(server=90)) is None
        assert company.due == at(t) + ALONE


def test_a_report_says_nothing_of_long_ago_and_the_last_one_that_it_is_over() -> None:
    """A driver shows the last second; when a stranger has left, that is told once."""
    company = DeviceProcesses(GPU, Owners())
    company.take(at(1), uses(server=90))
    found = company.take(at(6), uses(server=10, stranger=80))
    assert found is not None
    assert found.since == at(6) - LONGEST
    assert company.take(at(7), uses(server=90)) == DeviceLoad(GPU, at(6), at(7), own=90, foreign=0)
    assert company.take(at(12), uses(server=90)) is None


def test_nobody_is_a_stranger_where_the_own_are_not_known() -> None:
    """A server in a container, or of another user: no report, and requests are charged as without."""
    company = DeviceProcesses(GPU, Owners(None))
    for t in (1, 2, 3):
        assert company.take(at(t), uses(stranger=80)) is None


def test_the_operating_system_is_asked_when_others_are_there() -> None:
    """A server that was restarted is found anew; the same processes are not asked about each second."""
    owners = Owners()
    company = DeviceProcesses(GPU, owners)
    for t in range(5):
        company.take(at(t), uses(server=1, stranger=2))
    assert owners.asked == 1
    company.take(at(5), uses(server=1, worker=1))
    assert owners.asked == 2
    company.take(Nanoseconds(at(5) + OWN_KNOWN), uses(server=1, worker=1))
    assert owners.asked == 3


@pytest.mark.parametrize(
    ("code", "again"), [("NVMLError_NotSupported", False), ("NVMLError_GpuIsLost", True), ("no_gpu", True)]
)
def test_a_failed_look_is_repeated_where_it_can_succeed(code: str, again: bool) -> None:
    """A device that has no such call is not asked again; time across a failure is not reported on."""
    company = DeviceProcesses(GPU, Owners())
    company.take(at(1), uses(stranger=50))
    company.fail(at(2), code)
    assert company.due == (at(2) + ALONE if again else None)
    assert company.take(at(7), uses(stranger=50)) is None


class FakeSampler:
    def __init__(self) -> None:
        self.calls: list[str] = []

    def start(self) -> None:
        self.calls.append("start")

    def stop(self) -> bool:
        self.calls.append("stop")
        return True

    def health(self) -> Mapping[DeviceId, ReaderHealth]:
        return {GPU: ReaderHealth(up=True)}


def test_every_device_is_looked_at_when_it_is_due() -> None:
    """One that fails does not keep the others from being looked at."""
    devices = [gpu(0), gpu(1)]
    source, heard, now = ScriptedSource(devices), list[DeviceLoad](), [at(10)]
    source.use(devices[1].id, {SERVER: 30, STRANGER: 60})
    watch = ForeignProcesses(
        FakeSampler(), source, devices, lambda device, pids: frozenset({SERVER}), heard.append,
        clock=lambda: now[0],
    )  # fmt: skip
    for t in (10, 10.5, 11):
        now[0] = at(t)
        watch.look()
    assert heard == [DeviceLoad(devices[1].id, at(10), at(11), own=30, foreign=60)]


def test_it_starts_and_stops_with_the_sampler() -> None:
    """A meter sees one thing that reads devices."""
    sampler = FakeSampler()
    watch = ForeignProcesses(sampler, ScriptedSource(), [gpu()], lambda device, pids: None, lambda load: None)
    watch.start()
    watch.stop()
    assert sampler.calls == ["start", "stop"]
    assert watch.health()[GPU].up
