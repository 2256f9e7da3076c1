"""From an upstream's port to its devices."""

import os

import pytest

from joulegate.errors import ConfigError
from joulegate.meter.sampling.discovery import locate, owned, pick
from joulegate.model import Component, Device, DeviceId, Tier
from joulegate.processes import Serving
from joulegate.sources import fake
from joulegate.testing.source import ScriptedSource, gpu

GPUS = [gpu(0), gpu(1), gpu(2)]
ALL = tuple(device.id for device in GPUS)


def _here(_host: str, _port: int) -> Serving:
    return Serving((os.getpid(),))


@pytest.fixture
def source() -> ScriptedSource:
    return ScriptedSource(GPUS)


def test_the_gpus_of_its_processes_are_found(source: ScriptedSource) -> None:
    """The processes on the port lead to the GPUs on which they compute."""
    source.work(GPUS[1].id, [os.getpid()])
    found = locate("llm", [("127.0.0.1", 8000)], source, GPUS, find=_here)
    assert found.devices == (GPUS[1].id,)
    assert found.how == f"127.0.0.1:8000 is process {os.getpid()}; its processes use them"


def test_processes_on_no_gpu_get_all(source: ScriptedSource) -> None:
    """A local server that is seen on no device yet may use any of them."""
    found = locate("llm", [("127.0.0.1", 8000)], source, GPUS, find=_here)
    assert found.devices == ALL
    assert "none of its processes is seen on a device" in found.how


def test_a_source_that_cannot_tell_gives_all() -> None:
    """A source without process lists serves every upstream with all its devices."""
    source = fake.Plugin(fake.Options(gpus=2))
    devices = source.open()
    found = locate("llm", [("127.0.0.1", 8000)], source, devices, find=_here)
    assert found.devices == ("GPU-fake-0", "GPU-fake-1")
    assert "cannot tell" in found.how


def test_hidden_processes_get_all(source: ScriptedSource) -> None:
    """A server of another user on this host may use any device."""
    reason = "the process belongs to another user"
    found = locate(
        "llm", [("h", 1)], source, GPUS, find=lambda _host, _port: Serving((), reason, hidden=True)
    )
    assert found.devices == ALL
    assert reason in found.how


@pytest.mark.parametrize(
    "reason", ["h is another host", "h:1 is forwarded by docker-proxy", "nothing listens"]
)
def test_a_server_that_cannot_be_followed_has_none(source: ScriptedSource, reason: str) -> None:
    """On another host, in a container or not yet started: unknown, with the reason."""
    found = locate("llm", [("h", 1)], source, GPUS, find=lambda _host, _port: Serving((), reason))
    assert (found.devices, found.how) == (None, reason)


def test_a_modelled_upstream_has_its_own_device(source: ScriptedSource) -> None:
    """Where each upstream has a device of its own, it gets that one, running or not."""
    devices = [_cpu(0, "image"), _cpu(1, "llm")]
    found = locate(
        "llm", [("h", 1)], source, devices, find=lambda _host, _port: Serving((), "nothing listens")
    )
    assert found.devices == ("cpu:llm",)


def _cpu(index: int, upstream: str) -> Device:
    name = DeviceId(f"cpu:{upstream}")
    return Device(name, index, "CPU", "cpu_estimate", Tier.ESTIMATE, Component.CPU)


def test_devices_can_be_picked_by_index_and_uuid() -> None:
    """Indices, UUIDs and the beginnings of UUIDs are understood; each device is given once."""
    assert pick(GPUS, [2, "GPU-0", 0]) == ("GPU-2", "GPU-0")
    assert pick([Device(DeviceId("GPU-abcdef"), 0, "g", "nvml", Tier.COUNTER)], ["GPU-abc"]) == (
        "GPU-abcdef",
    )


@pytest.mark.parametrize(
    ("word", "problem"), [(7, "not here"), ("GPU-9", "not here"), ("GPU", "ambiguous"), ("", "not here")]
)
def test_a_device_that_is_not_there_names_those_that_are(word: int | str, problem: str) -> None:
    """A wrong index or UUID is answered with the list."""
    with pytest.raises(ConfigError, match=rf"{problem}; there are: 0 \(GPU-0\), 1 \(GPU-1\)"):
        pick(GPUS, [word])


def test_processes_of_an_upstream_are_owned_and_others_are_not() -> None:
    """Where an upstream shows none of its own on the device, nobody can be told apart."""
    mine, init = os.getpid(), 1
    assert owned([("127.0.0.1", 8000)], [mine, init], find=_here) == {mine}
    assert owned([("127.0.0.1", 8000)], [init], find=_here) is None
    assert owned([("h", 1)], [mine], find=lambda _host, _port: Serving((), "in a container")) is None
    assert owned([], [init]) == frozenset(), "a device without upstreams is the strangers'"
