"""The made-up source."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulegate.errors import ConfigError, SourceInvalid, SourceUnavailable
from joulegate.model import DeviceId, Tier
from joulegate.sources.fake import Options, Plugin
from joulegate.units import Nanoseconds

FIRST = DeviceId("GPU-fake-0")
SECOND = 1_000_000_000


class Clock:
    """A clock that moves when the test says."""

    def __init__(self) -> None:
        self.now = Nanoseconds(7)

    def __call__(self) -> Nanoseconds:
        return self.now

    def wait(self, time: int) -> None:
        self.now = Nanoseconds(self.now + time)


def _opened(options: Options, clock: Clock) -> Plugin:
    source = Plugin(options, clock=clock)
    source.open()
    return source


def test_it_never_passes_for_a_measurement() -> None:
    """Its devices are synthetic, and say so."""
    first, second = Plugin(Options(gpus=2)).open()
    assert first.id != second.id
    assert first.tier is Tier.SYNTHETIC
    assert "made up" in first.note


def test_the_beat_is_idle_then_busy() -> None:
    """Over a beat of 4 s the power is idle for 2 s and busy for 2 s."""
    clock = Clock()
    source = _opened(Options(idle_watts="60 W", busy_watts="300 W", beat="4 s"), clock)
    assert source.read(FIRST).power == 60_000_000
    clock.wait(3 * SECOND)
    sample = source.read(FIRST)
    assert (sample.counter, sample.power) == (60 * 2_000_000 + 300 * 1_000_000, 300_000_000)
    clock.wait(SECOND)
    assert source.read(FIRST).counter == 720_000_000


@given(st.lists(st.integers(0, 3 * SECOND), max_size=40))
def test_energy_does_not_depend_on_when_it_is_read(waits: list[int]) -> None:
    """Many readings or one: the energy over the same time is the same, to the microjoule."""
    often, once = Clock(), Clock()
    many, one = _opened(Options(), often), _opened(Options(), once)
    for wait in waits:
        often.wait(wait)
        many.read(FIRST)
    once.wait(sum(waits))
    assert many.read(FIRST).counter == one.read(FIRST).counter


def test_without_a_beat_the_power_is_constant() -> None:
    """A beat of 0 s leaves the power idle."""
    clock = Clock()
    source = _opened(Options(beat="0 s", idle_watts="10 W"), clock)
    clock.wait(SECOND)
    sample = source.read(FIRST)
    assert (sample.counter, sample.power) == (10_000_000, 10_000_000)


def test_a_control_file_sets_the_watts(tmp_path: Path) -> None:
    """Watts from the file hold from the reading that saw them."""
    clock, control = Clock(), tmp_path / "control.json"
    control.write_text('{"watts": {"0": 100}}')
    source = _opened(Options(beat="0 s", idle_watts="10 W", control=str(control)), clock)
    source.read(FIRST)
    clock.wait(SECOND)
    assert source.read(FIRST).counter == 100_000_000
    control.write_text('{"watts": {"0": 0}}')
    source.read(FIRST)
    clock.wait(SECOND)
    assert source.read(FIRST).counter == 100_000_000


def test_a_control_file_lets_a_gpu_fail(tmp_path: Path) -> None:
    """A fault has the code of the file; the other GPU goes on."""
    control = tmp_path / "control.json"
    control.write_text('{"fail": {"0": "lost"}}')
    source = _opened(Options(gpus=2, control=str(control)), Clock())
    with pytest.raises(SourceUnavailable) as failure:
        source.read(FIRST)
    assert failure.value.code == "lost"
    assert source.read(DeviceId("GPU-fake-1")).counter == 0


@pytest.mark.parametrize(
    "text", ["{", '{"wats": {}}', '{"watts": {"0": -1}}', '{"watts": {"0": 1e99}}', "[]"]
)
def test_a_bad_control_file_is_named(tmp_path: Path, text: str) -> None:
    """Garbage in the control file is an invalid reading that names the file."""
    control = tmp_path / "control.json"
    control.write_text(text)
    source = _opened(Options(control=str(control)), Clock())
    with pytest.raises(SourceInvalid, match=r"control\.json"):
        source.read(FIRST)


def test_a_missing_control_file_is_named(tmp_path: Path) -> None:
    """A control file that is not there is said."""
    source = _opened(Options(control=str(tmp_path / "nowhere.json")), Clock())
    with pytest.raises(SourceUnavailable, match=r"nowhere\.json"):
        source.read(FIRST)


@pytest.mark.parametrize("gpus", [0, -1, 65])
def test_a_senseless_number_of_gpus_is_refused(gpus: int) -> None:
    """The message names the key and the bounds."""
    with pytest.raises(ConfigError, match=r"energy\.options\.fake\.gpus"):
        Plugin(Options(gpus=gpus))
