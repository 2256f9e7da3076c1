"""The machine of a trace."""

import pytest

from joulegate.errors import TraceError
from joulegate.replay.fields import Document
from joulegate.replay.replay_setup import device_id, read_setup

LLM = {"kind": "llm", "gpus": [0, 1]}


def test_idle_power_is_spread_over_all_devices() -> None:
    """The file gives the sum of all."""
    setup = read_setup(Document("f", {"upstreams": {"llm": LLM}, "n_gpus": 2, "idle_w": 150.0}))

    assert [setup.idle_power[device.id] for device in setup.devices] == [75_000_000, 75_000_000]
    assert setup.upstreams["llm"].devices == (device_id(0), device_id(1))


def test_unknown_idle_power_is_absent() -> None:
    """Absent is not zero."""
    assert read_setup(Document("f", {"upstreams": {"llm": LLM}, "n_gpus": 2})).idle_power == {}


@pytest.mark.parametrize(
    ("upstream", "reason"),
    [
        ({"kind": "llm", "gpus": []}, "names no gpu"),
        ({"kind": "llm", "gpus": [2]}, "gpu 2 is not below n_gpus 2"),
        ({"kind": "x", "gpus": [0]}, "is not one of llm, image"),
    ],
)
def test_a_wrong_upstream_is_named(upstream: dict[str, object], reason: str) -> None:
    """With its path in the file."""
    with pytest.raises(TraceError, match=reason) as caught:
        read_setup(Document("f", {"upstreams": {"llm": upstream}, "n_gpus": 2}))

    assert str(caught.value).startswith("f: upstreams.llm.")
