"""The picture of ``top``: everything in it, nothing wider or longer than the terminal, no unknown as zero."""

import io
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from rich.console import Console

from joulegate.cli.screen import Seen, bar, fit, picture
from joulegate.model import Device, DeviceId, MeterStatus, ReplicaStatus, Tier
from joulegate.units import NANO, UJ_PER_KWH, Microjoules, Nanoseconds


def drawn(seen: Seen, width: int = 120, height: int = 1_000) -> str:
    console = Console(file=io.StringIO(), width=width, highlight=False)
    console.print(picture(seen, width, height))
    return console.file.getvalue()  # type: ignore[attr-defined,no-any-return]  # it is the StringIO


def test_everything_at_one_glance(status: MeterStatus) -> None:
    """Uptime, tier, books, devices, upstreams, tasks, budgets, grid and ledger stand there."""
    shown = drawn(Seen(status))
    for part in (
        "joulegate 0.1.0  up 3 h 12 min  nvml: measured (energy counter)  books balance",
        "0 NVIDIA H100 GPU-0", "312.4 W", "71.2 W", "50 %", "http://127.0.0.1:8001", "DOWN",
        "image-generation", "gemma-3-270m", "10.0 Wh", "25.0 kWh", "62 %", "112 %",
        "FRA 56.0 g/kWh", "boundary gpu", "ledger 1280 rows", "1/1 gates", "2 unsettled",
    ):  # fmt: skip
        assert part in shown
    assert shown.index("image-generation") < shown.index("chat"), "most energy first"


def test_replicas_stand_below_their_upstream(status: MeterStatus) -> None:
    """Each with its state and why it gets fewer requests; an upstream of one server is one row."""
    replicas = (
        ReplicaStatus("h:1", up=True, in_flight=3),
        ReplicaStatus("h:2", up=False, in_flight=0, note="serves b in place of a"),
    )
    text = replace(status.upstreams[0], replicas=replicas)
    image = replace(status.upstreams[1], replicas=replicas[:1])
    shown = drawn(Seen(replace(status, upstreams=(text, image))))
    assert "2 replicas" in shown
    assert "DOWN, serves b in place of a" in shown
    assert shown.count("h:1") == 1


def test_power_of_a_task_is_the_growth_between_two_answers(status: MeterStatus) -> None:
    """Energy settled since the last answer over the time between; before there are two, it is not known."""
    first = status.totals[1]
    grown = replace(first, energy=Microjoules(first.energy + 500 * 10**6))
    later = replace(status, now=Nanoseconds(status.now + 2 * NANO), totals=(status.totals[0], grown))
    assert "250.0 W" in drawn(Seen(later, status))
    assert "250.0 W" not in drawn(Seen(later))


def test_a_meter_that_began_anew_has_no_negative_power(status: MeterStatus) -> None:
    """Totals that shrink are another ledger's: the power is not known."""
    later = replace(
        status,
        now=Nanoseconds(status.now + NANO),
        totals=tuple(replace(total, energy=Microjoules(0)) for total in status.totals),
    )
    row = next(line for line in drawn(Seen(later, status)).splitlines() if "sdxl" in line)
    assert row.split()[-1] == "-"


@pytest.mark.parametrize(
    ("tier", "words"), [(Tier.ESTIMATE, "watts are MODELLED"), (Tier.SYNTHETIC, "watts are MADE UP")]
)
def test_modelled_watts_are_said_plainly(tier: Tier, words: str, status: MeterStatus) -> None:
    """One modelled device is enough."""
    found = status.devices[0]
    modelled = replace(found, device=Device(DeviceId("cpu:a"), 0, "CPU", "cpu_estimate", tier))
    assert words in drawn(Seen(replace(status, devices=(modelled, found))))


def test_trouble_is_named(status: MeterStatus) -> None:
    """Unbalanced books, a lost device, no source and no zone are not hidden."""
    first = replace(status.devices[0], conservation_error=-7, up=False)
    shown = drawn(Seen(replace(status, devices=(first,), carbon=None, ledger=None, degraded="NVML is gone")))
    for part in ("books are off by 7 µJ", "LOST", "no zone, so no CO2e", "no ledger", "NVML is gone"):
        assert part in shown
    assert "no energy source: nothing is measured" in drawn(Seen(replace(status, devices=())))


def test_a_meter_that_is_gone(status: MeterStatus) -> None:
    """The reason stands above the last figures, or alone."""
    alone = drawn(Seen(trouble="no meter answers"))
    assert "no meter answers" in alone
    assert "retrying" in alone
    both = drawn(Seen(status, None, "no meter answers"))
    assert both.index("no meter answers") < both.index("sdxl")


@pytest.mark.parametrize(("width", "height"), [(80, 24), (120, 40), (80, 12), (40, 10)])
def test_the_picture_fits(width: int, height: int, status: MeterStatus) -> None:
    """Eight GPUs and a hundred models do not push anything off the screen, and the cut is named."""
    many = replace(
        status,
        devices=status.devices * 4,
        totals=tuple(replace(status.totals[0], model=f"model-{number}" * 9) for number in range(100)),
    )
    lines = drawn(Seen(many, None, "gone"), width, height).splitlines()
    assert len(lines) <= height
    assert max(map(len, lines)) <= width
    assert any("more" in line for line in lines) or height < 20


def test_names_from_outside_cannot_drive_the_terminal(status: MeterStatus) -> None:
    """Escape sequences and markup in a model's name are plain text."""
    total = replace(status.totals[0], model="\x1b[2J[red]x")
    shown = drawn(Seen(replace(status, totals=(total,))))
    assert "\x1b[2J" not in shown
    assert "[red]x" in shown


@given(st.lists(st.integers(0, 50), max_size=8), st.integers(-5, 100))
def test_lines_are_shared_fairly(wanted: list[int], room: int) -> None:
    """Nobody gets more than wanted, and nothing is left while somebody wants more."""
    granted = fit(wanted, room)
    assert all(0 <= got <= want for got, want in zip(granted, wanted, strict=True))
    assert sum(granted) == min(sum(wanted), max(room, 0))


@pytest.mark.parametrize(
    ("used", "limit", "full", "words"), [(0, 10, 0, "0 %"), (5, 10, 10, "50 %"), (30, 10, 20, "300 %")]
)
def test_bars(used: int, limit: int, full: int, words: str) -> None:
    """A bar over its limit is full and says by how much."""
    assert bar(used, limit) == f"{'█' * full}{'░' * (20 - full)} {words}"
    assert bar(used, 0) == "-"


def test_shapes_are_what_they_claim(status: MeterStatus, fake_meter: Any) -> None:
    """The status of these tests can be sent and read as the real one."""
    assert status.devices[0].measured == Microjoules(2 * UJ_PER_KWH)
    assert b"GPU-0" in fake_meter.answers["/v1/status"]
