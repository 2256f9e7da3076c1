"""A corrected counter is exact, moves when the device's moves, and starts again when it does."""

from datetime import date
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulegate.app.energy import opened
from joulegate.config.structs import Config, EnergyConfig
from joulegate.errors import ConfigError, SourceUnavailable
from joulegate.meter.sampling.calibrated import Calibrated, calibrated, corrected_energy, corrected_power
from joulegate.meter.sampling.calibration import Calibration, configured
from joulegate.meter.sampling.choose import Choice
from joulegate.model import EnergySample, Tier
from joulegate.testing.source import ScriptedSource, gpu
from joulegate.units import NANO, Microjoules, Microwatts, Nanoseconds

GPU = gpu().id
DAY = date(2026, 11, 23)
DAYS = 86_400 * NANO


def calibration(gain: Fraction | int = 1, offset: int = 0) -> Calibration:
    return Calibration(Fraction(gain), Microwatts(offset), DAY)


class Corrected:
    """A scripted device and its correction."""

    def __init__(self, found: Calibration) -> None:
        self.script = ScriptedSource()
        self.source = Calibrated(self.script, {GPU: found})

    def read(self, counter: int, t: int) -> int:
        self.script.give(GPU, counter, t)
        given = self.source.read(GPU).counter
        assert given is not None
        return given


gains = st.fractions(Fraction(1, 2), Fraction(3, 2), max_denominator=10**9)
offsets = st.integers(-100 * 10**6, 100 * 10**6)
steps = st.lists(st.tuples(st.integers(0, 10**9), st.integers(1, 10 * NANO)), max_size=30)


@given(
    gain=gains, offset=offsets, steps=steps, begin=st.integers(0, 400 * DAYS), first=st.integers(0, 10**15)
)
def test_the_counter_never_goes_back_and_never_drifts(
    gain: Fraction, offset: int, steps: list[tuple[int, int]], begin: int, first: int
) -> None:
    """Each value is the highest exact one so far, to a microjoule, however many readings there were."""
    corrected, raw, t = Corrected(calibration(gain, offset)), first, begin
    origin = corrected.read(raw, t)
    highest, before = Fraction(0), origin
    for energy, time in steps:
        raw, t = raw + energy, t + time
        given = corrected.read(raw, t)
        if energy:
            highest = max(highest, gain * (raw - first) + Fraction(offset * (t - begin), NANO))
        assert given >= before >= 0
        assert given == before or energy
        assert abs(given - origin - highest) < 1
        before = given


@given(
    gain=gains,
    offset=offsets,
    readings=st.lists(st.tuples(st.integers(0, 10**6), st.integers(1, 100 * NANO)), min_size=2, max_size=30),
)
def test_a_counter_that_starts_again_is_seen_to_do_so(
    gain: Fraction, offset: int, readings: list[tuple[int, int]]
) -> None:
    """Whatever the offset adds: the corrected counter falls when, and only when, the own one does."""
    corrected, t, last = Corrected(calibration(gain, offset)), 0, None
    for raw, time in readings:
        t += time
        given = corrected.read(raw, t)
        if last is not None:
            assert (given < last[1]) == (raw < last[0])
        assert given >= 0
        last = raw, given


def test_a_second_meter_continues_the_counter() -> None:
    """The books of one boot outlive a meter: the correction depends on no earlier reading."""
    found = calibration(Fraction(21, 20), -3_000_000)
    first = Corrected(found)
    first.read(10**9, 5 * NANO)
    assert first.read(2 * 10**9, 9 * NANO) == Corrected(found).read(2 * 10**9, 9 * NANO)


def test_the_offset_alone_moves_nothing_between_two_edges() -> None:
    """Attribution dates energy by the moves of the sensor; a clock must not add any."""
    corrected = Corrected(calibration(1, 10**7))
    assert corrected.read(500, NANO) == corrected.read(500, 2 * NANO)
    assert corrected.read(501, 3 * NANO) - corrected.read(501, 4 * NANO) == 0


def test_gain_and_offset() -> None:
    """The formula in figures: 5 % more, and 2 W for 10 s."""
    found = calibration(Fraction(105, 100), 2_000_000)
    start, end = (
        corrected_energy(found, Microjoules(j * 10**6), Nanoseconds(t * NANO))
        for j, t in ((100, 0), (200, 10))
    )
    assert end - start == 125 * 10**6
    assert corrected_power(found, Microwatts(300 * 10**6)) == 317 * 10**6
    assert corrected_power(calibration(1, -(10**7)), Microwatts(10**6)) == 0


def test_power_readings_are_corrected_and_the_rest_stays() -> None:
    """A device without a counter has none afterwards, and another device is left alone."""
    script = ScriptedSource([gpu(0), gpu(1)])
    sample = EnergySample(GPU, Nanoseconds(7), power=Microwatts(100), sm_clock_mhz=1410)
    script._set(GPU, sample)
    script.give(gpu(1).id, 55, 8)
    source = Calibrated(script, {GPU: calibration(Fraction(3, 2))})
    assert source.read(GPU) == EnergySample(GPU, Nanoseconds(7), power=Microwatts(150), sm_clock_mhz=1410)
    assert source.read(gpu(1).id) == EnergySample(gpu(1).id, Nanoseconds(8), Microjoules(55))


def test_it_is_the_source_in_everything_else() -> None:
    """Errors and closing pass through."""
    script = ScriptedSource([gpu(0)])
    script.fail(GPU, SourceUnavailable("gone", code="lost"))
    source = Calibrated(script, {GPU: calibration()})
    with pytest.raises(SourceUnavailable, match="gone"):
        source.read(GPU)
    source.close()
    assert script.closed


FILE = """
["GPU-0"]
date = 2026-11-23
readings = [{ meter = "66 W", sensor = "60 W" }, { meter = "660 W", sensor = "600 W" }]
"""


def test_a_chosen_source_is_corrected_by_the_file(tmp_path: Path) -> None:
    """The note tells everyone who sees the device; without a file nothing changes."""
    (tmp_path / "c.toml").write_text(FILE)
    script = ScriptedSource([gpu(0), gpu(1, tier=Tier.POWER)])
    choice = Choice("scripted", script, script.open())
    assert calibrated(choice, configured("")) is choice
    found = calibrated(choice, configured(str(tmp_path / "c.toml")))
    assert [device.note for device in found.devices] == ["calibrated on 2026-11-23", ""]
    assert found.devices == found.source.open()
    script.give(GPU, 1_000_000)
    first = found.source.read(GPU).counter
    script.give(GPU, 2_000_000)
    assert (found.source.read(GPU).counter or 0) - (first or 0) == 1_100_000


def test_the_configured_file_reaches_the_source_in_use(tmp_path: Path) -> None:
    """[energy] calibration corrects what the meter reads, and a made-up GPU can have one too."""
    (tmp_path / "c.toml").write_text(FILE.replace("GPU-0", "GPU-fake-0"))
    config = Config(energy=EnergyConfig(source="fake", calibration=str(tmp_path / "c.toml")))
    energy = opened(config)
    assert energy.devices[0].note.endswith("; calibrated on 2026-11-23")
    assert energy.source.read(energy.devices[0].id).power == 66_000_000


@pytest.mark.parametrize("source", ["fake", "rapl"])
def test_a_wrong_file_stops_the_start(tmp_path: Path, source: str) -> None:
    """No energy is read with a calibration that is not what the user asked for, now or later."""
    options = {"rapl": {"root": str(tmp_path)}}
    config = Config(
        energy=EnergyConfig(source=source, options=options, calibration=str(tmp_path / "none.toml"))
    )
    with pytest.raises(ConfigError, match=r"none\.toml"):
        opened(config)
