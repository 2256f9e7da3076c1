"""The start-up screen says what was detected, and says plainly what is not measured."""

import re

import pytest

from joulegate.cli.banner import render, show, tier_of
from joulegate.model import CarbonStatus, Device, DeviceId, Tier
from joulegate.model.banner import Banner, FoundUpstream
from joulegate.units import Micrograms, Microwatts


def device(index: int, tier: Tier) -> Device:
    return Device(
        DeviceId(f"GPU-{index}"), index, "NVIDIA H100", "nvml", tier, power_limit=Microwatts(700_000_000)
    )


def banner(**changes: object) -> Banner:
    values: dict[str, object] = {
        "version": "0.1.0",
        "proxy": "http://127.0.0.1:8080",
        "admin": "http://127.0.0.1:9464",
        "gates": 2,
        "upstreams": (
            FoundUpstream(
                "text",
                "http://127.0.0.1:8000",
                "everything else",
                "llama.cpp b1",
                ("gemma",),
                ("GPU-0",),
                "by port",
            ),
        ),
        "source": "nvml",
        "devices": (device(0, Tier.COUNTER),),
        "carbon": CarbonStatus("FRA", "Ember", 2023, "CC BY 4.0", "location", Micrograms(56_000_000), None),
        "ledger": "/x/ledger.db",
    }
    return Banner(**{**values, **changes})  # type: ignore[arg-type]  # each test names fields of its own


def text(found: Banner, width: int = 200) -> str:
    return re.sub(r"\x1b\[\d*m", "", "\n".join(render(found, width)))


def test_everything_that_was_found() -> None:
    """Addresses, server, models, devices, how they were found, source, tier, zone and factor stand there."""
    shown = text(banner())
    for part in (
        "http://127.0.0.1:8080 (2 gates)",
        "http://127.0.0.1:9464/metrics",
        "text: http://127.0.0.1:8000, takes everything else",
        "llama.cpp b1; models: gemma",
        "on GPU-0 (by port)",
        "nvml: measured by a hardware energy counter",
        "GPU-0: NVIDIA H100, limit 700 W",
        "FRA: 56 g/kWh (Ember, 2023; location-based)",
        "/x/ledger.db",
    ):
        assert part in shown


@pytest.mark.parametrize(
    ("tier", "words"),
    [(Tier.ESTIMATE, "watts are MODELLED"), (Tier.SYNTHETIC, "MADE UP"), (Tier.POWER, "power readings")],
)
def test_what_is_not_a_counter_is_said_plainly(tier: Tier, words: str) -> None:
    """One modelled device makes the whole figure a modelled one."""
    found = banner(devices=(device(0, Tier.COUNTER), device(1, tier)))
    assert tier_of(found) is tier
    assert words in text(found)


def test_why_nothing_better_was_taken() -> None:
    """Each better source is named with its reason."""
    assert "not nvml: no driver" in text(banner(passed_over=(("nvml", "no driver"),)))


def test_no_source_and_no_zone_name_the_remedy() -> None:
    """Missing figures are announced, not left out."""
    shown = text(banner(source=None, devices=(), carbon=None))
    assert "NONE: requests pass, no energy is measured; `joulegate doctor`" in shown
    assert "no zone, so no CO2e: set [carbon] zone or --zone" in shown


def test_unknown_server_far_away_and_down() -> None:
    """What is not known is said to be not known."""
    far = FoundUpstream("a", "http://h:1", "everything else", devices=None, how="h is another host", up=False)
    shown = text(banner(upstreams=(far,)))
    assert "server type not known" in shown
    assert "on no device of this host (h is another host)" in shown
    assert "does not answer yet" in shown


@pytest.mark.parametrize("width", [60, 80, 110])
def test_no_line_is_wider_than_the_terminal(width: int) -> None:
    """Long reasons are wrapped under their title."""
    found = banner(passed_over=(("nvml", "word " * 60),), notes=("note " * 40,))
    assert max(map(len, text(found, width).splitlines())) <= width


def test_names_from_outside_cannot_drive_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    """A model may call itself what it likes."""
    evil = FoundUpstream("a", "http://h:1", "all", models=("\x1b[2J\x07evil",))
    show(banner(upstreams=(evil,)))
    assert "\x1b[2J" not in capsys.readouterr().out
