"""``joulegate calibrate``: correct a board's sensor by the readings of an external meter."""

import re
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from threading import Event

import click
import msgspec
from msgspec import Struct

from joulegate import log
from joulegate.cli.options import as_json
from joulegate.clock import monotonic
from joulegate.config.quantities import duration
from joulegate.errors import ConfigError, SourceUnavailable
from joulegate.meter.sampling.calibration import (
    Calibration,
    CalibrationEntry,
    CalibrationReading,
    entries,
    fit,
    text,
)
from joulegate.meter.sampling.choose import choose
from joulegate.model import Device, DeviceId, EnergySample
from joulegate.ports import EnergySource
from joulegate.ports.plugins import Context
from joulegate.units import MICRO, Nanoseconds, seconds

PERIOD = 0.05
"""Seconds between readings: faster than the slowest common sensor, slow enough not to disturb it."""
_PAIR = re.compile(r"([^:]+):([^:]+)")


class Mean(Struct, frozen=True):
    """What the sensor showed over a while."""

    device: DeviceId
    watts: float
    seconds: float
    by: str
    """``counter`` or ``power``."""


@click.command("calibrate")
@click.option("--device", required=True, metavar="UUID", help="The board, as in nvidia-smi -L or the doctor.")
@click.option(
    "--reading",
    "readings",
    multiple=True,
    metavar="METER_W:SENSOR_W",
    help="Watts of the meter and of the sensor at the same load; once idle, once at full load, or more.",
)
@click.option("--measure", metavar="TIME", help="Only show the sensor's mean watts over this time, say 30s.")
@click.option(
    "--source", default="auto", show_default=True, metavar="NAME", help="Where --measure reads energy."
)
@click.option("--note", default="", help="Which meter, and at which point of the supply.")
@click.option("--out", type=click.Path(path_type=Path), metavar="FILE", help="Add to this file [TOML].")
@as_json
def command(
    device: str,
    readings: tuple[str, ...],
    measure: str | None,
    source: str,
    note: str,
    out: Path | None,
    as_json: bool,
) -> None:
    """Correct a board's sensor by the readings of an external meter.

    Hold the GPU idle and read the meter while `calibrate --device UUID --measure 30s` shows what the sensor
    says; do the same under full load; then give both pairs with --reading. The file takes effect with
    `[energy] calibration = "FILE"`. See docs/calibration.md.
    """
    if bool(readings) == bool(measure):
        raise click.UsageError("give either --measure TIME, or --reading METER_W:SENSOR_W at least twice")
    if measure:
        _measure(device, source, duration(measure), as_json=as_json)
    else:
        _fit(
            device,
            CalibrationEntry(_today(), tuple(map(_reading, readings)), _clean(note)),
            out,
            as_json=as_json,
        )


def mean_watts(
    source: EnergySource,
    device: Device,
    time: Nanoseconds,
    *,
    clock: Callable[[], Nanoseconds],
    pause: Callable[[], object],
) -> Mean:
    """Return the mean power that a device's own sensor shows, between the first and the last of its steps.

    Raises ``SourceUnavailable`` if the sensor moved less than twice.
    """
    end = clock() + time
    samples = [source.read(device.id)]
    while clock() < end:
        pause()
        samples.append(source.read(device.id))
    if samples[0].counter is None:
        return _mean_power(samples)
    return _mean_of_counter(samples)


def find(devices: Sequence[Device], name: str) -> Device:
    """Return the device of this identity or index. Raises ``ConfigError`` with the choices."""
    for device in devices:
        if name in (device.id, str(device.index)):
            return device
    there = ", ".join(f"{device.id} (index {device.index})" for device in devices)
    raise ConfigError(f"--device: there is no {name[:80]!r} here; there are {there}")


# --- the sensor


def _measure(name: str, source: str, time: Nanoseconds, *, as_json: bool) -> None:
    log.configure(json=False, level="error")
    choice = choose(source, {}, Context())
    try:
        device = find(choice.devices, name)
        click.echo(f"reading {device.id} ({device.name}) for {seconds(time):g} s ...", err=True)
        found = mean_watts(choice.source, device, time, clock=monotonic, pause=lambda: Event().wait(PERIOD))
    finally:
        choice.source.close()
    if as_json:
        click.echo(msgspec.json.encode(found))
        return
    click.echo(f"{found.device}: {found.watts:.3f} W over {found.seconds:.1f} s by its {found.by}")
    click.echo(f"pair it with the meter's mean over the same time: --reading METER_W:{found.watts:.3f}")


def _mean_of_counter(samples: Sequence[EnergySample]) -> Mean:
    moves = [samples[0]]
    for sample in samples:
        if sample.counter != moves[-1].counter:
            moves.append(sample)
    if len(moves) < 3:  # the first is no move: nobody knows when the counter last moved before it
        raise SourceUnavailable(
            f"the counter of {samples[0].device} moved {len(moves) - 1} times: measure for longer",
            code="still",
        )
    energy = (moves[-1].counter or 0) - (moves[1].counter or 0)
    time = seconds(Nanoseconds(moves[-1].t - moves[1].t))
    if energy < 0:
        raise SourceUnavailable(
            f"the counter of {samples[0].device} started again: measure again", code="reset"
        )
    return Mean(samples[0].device, energy / MICRO / time, time, "counter")


def _mean_power(samples: Sequence[EnergySample]) -> Mean:
    powers = [sample.power for sample in samples if sample.power is not None]
    time = seconds(Nanoseconds(samples[-1].t - samples[0].t))
    return Mean(samples[0].device, sum(powers) / len(powers) / MICRO, time, "power readings")


# --- the file


def _fit(device: str, entry: CalibrationEntry, out: Path | None, *, as_json: bool) -> None:
    if device.isdecimal():
        raise ConfigError(
            f"--device: {device!r} is an index, which may change: give the UUID (nvidia-smi -L)"
        )
    found = fit(entry, device)
    if out is not None:
        kept = entries(out) if out.exists() else {}
        _write(out, text(kept | {device: entry}))
    if as_json:
        click.echo(msgspec.json.encode(_figures(device, found)))
    else:
        click.echo(_sentence(device, found), err=out is None)
        click.echo(
            f'written to {out}; use it with [energy] calibration = "{out}"' if out else text({device: entry})
        )


def _figures(device: str, found: Calibration) -> dict[str, object]:
    return {
        "device": device,
        "gain": float(found.gain),
        "offset_watts": found.offset / MICRO,
        "date": found.date,
    }


def _sentence(device: str, found: Calibration) -> str:
    example = float(found.gain) * 300 + found.offset / MICRO
    return (
        f"{device}: gain {float(found.gain):.4f}, offset {found.offset / MICRO:+.2f} W; "
        f"where the sensor shows 300 W the board draws {example:.1f} W"
    )


def _write(path: Path, content: str) -> None:
    """Write the file whole or not at all. Raises ``ConfigError``."""
    new = path.with_name(f".{path.name}.new")
    try:
        new.write_text(content, encoding="utf-8")
        new.replace(path)
    except OSError as error:
        raise ConfigError(f"--out: {path} cannot be written: {error.strerror}") from error


def _reading(pair: str) -> CalibrationReading:
    match = _PAIR.fullmatch(pair)
    if match is None:
        raise ConfigError(
            f"--reading: {pair[:60]!r} is no pair: write METER_W:SENSOR_W, for example 65.2:61.4"
        )
    meter, sensor = (
        side.strip() if side.strip()[-1:].isalpha() else f"{side.strip()} W" for side in match.groups()
    )
    return CalibrationReading(meter, sensor)


def _clean(note: str) -> str:
    """Return the note without what is no text: bytes that the terminal sent and that are not UTF-8."""
    return note.encode("utf-8", "replace").decode("utf-8")


def _today() -> date:
    return datetime.now(tz=UTC).date()
