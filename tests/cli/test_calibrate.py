"""``calibrate`` shows what the sensor says, and turns pairs of readings into a file."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from joulegate.cli.calibrate import Mean, find, mean_watts
from joulegate.errors import ConfigError, SourceUnavailable
from joulegate.meter.sampling.calibration import entries, load
from joulegate.model import EnergySample
from joulegate.testing.source import ScriptedSource, gpu
from joulegate.units import MICRO, NANO, Microjoules, Microwatts, Nanoseconds

Run = Callable[..., Result]
GPU = gpu()
PAIRS = ("--reading", "65:61.5", "--reading", "0.7 kW:661.5W")


class Sensor:
    """A device whose counter steps every 100 ms; pauses let 50 ms of a fake clock go by."""

    def __init__(self, watts: float, *, counter: bool = True, restart: bool = False) -> None:
        self.script = ScriptedSource()
        self._watts, self._counter, self._restart = watts, counter, restart
        self._t = 0
        self._show()

    def mean(self, time: float) -> Mean:
        return mean_watts(
            self.script,
            GPU,
            Nanoseconds(round(time * NANO)),
            clock=lambda: Nanoseconds(self._t),
            pause=self._pause,
        )

    def _pause(self) -> None:
        self._t += 50_000_000
        self._show()

    def _show(self) -> None:
        shown = self._t // 100_000_000 * 100_000_000
        start = 0 if self._restart and shown > NANO else 10**9
        energy = Microjoules(start + round(self._watts * shown / NANO * MICRO))
        power = Microwatts(round(self._watts * MICRO))
        self.script._set(
            GPU.id,
            EnergySample(GPU.id, Nanoseconds(self._t), energy if self._counter else None, power),
        )


def test_the_mean_lies_between_the_sensors_own_steps() -> None:
    """Steps of 100 ms do not blur the mean of two seconds."""
    found = Sensor(312.5).mean(2)
    assert found == Mean(GPU.id, 312.5, 1.9, "counter")


def test_without_a_counter_the_power_is_averaged() -> None:
    """Old boards show power only."""
    assert Sensor(80, counter=False).mean(1) == Mean(GPU.id, 80.0, 1.0, "power readings")


@pytest.mark.parametrize(
    ("sensor", "time", "words"),
    [
        (Sensor(300), 0.05, "moved 0 times: measure for longer"),
        (Sensor(300), 0.15, "moved 1 times"),
        (Sensor(300, restart=True), 1.4, "started again"),
    ],
)
def test_a_mean_that_means_nothing_is_refused(sensor: Sensor, time: float, words: str) -> None:
    """Too short a time and a reload of the driver."""
    with pytest.raises(SourceUnavailable, match=words):
        sensor.mean(time)


@pytest.mark.parametrize("name", ["GPU-1", "1"])
def test_a_device_is_known_by_uuid_or_index(name: str) -> None:
    """To look at, an index is good enough."""
    assert find([gpu(0), gpu(1)], name) == gpu(1)


def test_an_unknown_device_comes_with_the_choices() -> None:
    """A slip in 36 characters is hard to see."""
    with pytest.raises(ConfigError, match=r"no 'GPU-9' here; there are GPU-0 \(index 0\), GPU-1"):
        find([gpu(0), gpu(1)], "GPU-9")


def test_measuring_tells_what_to_pair(joulegate: Run) -> None:
    """The figure is ready to be typed into the next command, and is made up here."""
    result = joulegate("calibrate", "--device", "0", "--measure", "200 ms", "--source", "fake")
    assert result.exit_code == 0, result.output
    assert "GPU-fake-0: 60.000 W" in result.output
    assert "--reading METER_W:60.000" in result.output


def test_measuring_for_programs(joulegate: Run) -> None:
    """JSON has the same figure."""
    result = joulegate("calibrate", "--device", "0", "--measure", "200ms", "--source", "fake", "--json")
    assert json.loads(result.stdout)["watts"] == pytest.approx(60)


def test_pairs_become_a_file(joulegate: Run, tmp_path: Path) -> None:
    """The file is what [energy] calibration takes, and other boards in it stay."""
    out = tmp_path / "calibration.toml"
    first = joulegate("calibrate", "--device", "GPU-b", *PAIRS, "--out", str(out), "--note", "meter in line")
    assert first.exit_code == 0, first.output
    assert "gain 1.0583, offset -0.09 W" in first.output
    assert f'[energy] calibration = "{out}"' in first.output
    before = entries(out)["GPU-b"]
    assert before.note == "meter in line"
    assert joulegate("calibrate", "--device", "GPU-a", *PAIRS, "--out", str(out)).exit_code == 0
    assert entries(out)["GPU-b"] == before
    assert load(out).keys() == {"GPU-a", "GPU-b"}


def test_without_a_file_it_is_printed(joulegate: Run, tmp_path: Path) -> None:
    """Standard output is the very file, standard error the sentence."""
    result = joulegate("calibrate", "--device", "GPU-a", *PAIRS)
    (tmp_path / "out.toml").write_text(result.stdout)
    assert load(tmp_path / "out.toml").keys() == {"GPU-a"}
    assert "offset -0.09 W" in result.stderr


def test_the_fit_for_programs(joulegate: Run) -> None:
    """JSON has gain and offset."""
    found = json.loads(joulegate("calibrate", "--device", "GPU-a", *PAIRS, "--json").stdout)
    assert found["gain"] == pytest.approx(635 / 600)
    assert found["offset_watts"] == pytest.approx(-0.0875)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "give either --measure TIME, or --reading"),
        ([*PAIRS, "--measure", "3s"], "give either"),
        (["--reading", "65"], "'65' is no pair: write METER_W:SENSOR_W"),
        (["--reading", "a:b", "--reading", "1:2"], "no power"),
        (["--reading", "65:61"], "GPU-a: two readings are needed"),
        (["--reading", "61:65", "--reading", "300:700"], "not between 0.5 and 1.5"),
        (["--measure", "soon"], "is no duration"),
        (["--measure", "1s", "--source", "fake"], "there is no 'GPU-a' here"),
        ([*PAIRS, "--device", "0"], "give the UUID"),
        ([*PAIRS, "--out", "/none/such.toml"], "cannot be written: No such file"),
    ],
)
def test_misuse_names_the_remedy(joulegate: Run, arguments: list[str], words: str) -> None:
    """Exit code 2 and one sentence, no traceback."""
    result = joulegate("calibrate", "--device", "GPU-a", *arguments)
    assert result.exit_code == 2
    assert words in " ".join(result.output.split())


def test_a_file_that_is_none_is_not_overwritten(joulegate: Run, tmp_path: Path) -> None:
    """Whatever stands in FILE is somebody's work."""
    out = tmp_path / "notes.txt"
    out.write_text("dear diary")
    result = joulegate("calibrate", "--device", "GPU-a", *PAIRS, "--out", str(out))
    assert result.exit_code == 2
    assert out.read_text() == "dear diary"


@pytest.fixture
def wrong(tmp_path: Path) -> Path:
    """A configuration that names a calibration that does not exist."""
    path = tmp_path / "joulegate.toml"
    path.write_text('[energy]\ncalibration = "/none/such.toml"\n')
    return path


def test_check_looks_at_the_file_of_the_configuration(joulegate: Run, wrong: Path) -> None:
    """A calibration that cannot be applied is told before the start."""
    result = joulegate("check", "--upstream", "http://127.0.0.1:1", "--config", str(wrong))
    assert result.exit_code == 2
    assert "/none/such.toml cannot be read" in result.output
