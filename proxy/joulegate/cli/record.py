"""``joulegate record``: write what a running meter sees, so that it can be settled again by another rule."""

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from threading import Event
from types import FrameType

import click
import msgspec
from msgspec import Raw, Struct

from joulegate.cli import admin as meter
from joulegate.cli.figures import counted
from joulegate.cli.options import admin_address, as_json
from joulegate.cli.trace_files import TraceFiles, check_free, trace_files
from joulegate.clock import monotonic
from joulegate.meter.admin.record_route import LONGEST, NAME
from joulegate.meter.recording.recording import Reason, Summary
from joulegate.units import Nanoseconds, nanoseconds, seconds

SHOW_FROM = 2.0
"""Seconds: a recording that is longer shows how far it is."""
SHOW_EVERY = {True: nanoseconds(0.5), False: nanoseconds(10)}
"""Time between two looks, on a terminal and elsewhere."""
SOUND = {Reason.DONE, Reason.STOPPED}
SAYS = {
    Reason.SLOW: "it was cut short: this command, its disk or its connection was too slow",
    Reason.CROWDED: "it was cut short: more was under way at once than a recording holds",
    Reason.METER_STOPPED: "it was cut short: the meter was stopped",
    Reason.FAILED: "it was cut short by a fault of the meter: see its log; requests under way are missing",
    None: "it broke off: the meter is gone; requests that were under way are missing",
}
"""What was wrong with a recording by its reason; ``None`` if nobody gave one."""


class Line(Struct):
    """One line of the meter's answer; one of the fields is there."""

    trace: Raw = Raw(b"")
    nvml: Raw = Raw(b"")
    setup: Raw = Raw(b"")
    end: Summary | None = None


class Recorded(Struct, frozen=True):
    """What ``--json`` prints."""

    out: str
    reason: Reason | None
    """Why it ended; null if it broke off."""
    seconds: float | None
    requests: int | None
    readings: int
    clipped: int | None
    left_out: int | None


@click.command("record")
@click.option(
    "--seconds",
    "time",
    type=click.FloatRange(0, LONGEST, min_open=True),
    default=60.0,
    show_default=True,
    help="How long; Ctrl-C ends it early.",
)
@click.option(
    "--out",
    required=True,
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Folder for trace.jsonl, nvml.jsonl and public.json.",
)
@admin_address
@as_json
def command(time: float, out: Path, admin: str, as_json: bool) -> None:
    """Record what a running meter sees, for `joulegate replay`.

    The trace holds times, sizes and token counts: no prompts, no answers, no headers, no tenants. Ctrl-C ends
    it early and keeps what was recorded.
    """
    check_free(out)  # before anybody waits
    path = f"/v1/record?seconds={time:g}"
    with _interrupts() as wish, meter.streamed(admin, path) as answer, trace_files(out) as files:
        summary = _record(answer, files, time, _Stop(admin, answer, wish))
        if files.setup is None:
            raise meter.NoAnswer(f"{admin} broke off before anything was recorded")
        files.keep()
        readings = len(files.samples)
    _tell(_recorded(out, summary, readings), as_json=as_json)
    if summary is None or summary.reason not in SOUND:
        click.echo(f"joulegate: {SAYS[summary.reason if summary else None]}", err=True)
        sys.exit(1)


class _Stop:
    """Ends a recording early, once."""

    def __init__(self, admin: str, answer: HTTPResponse, wish: Event) -> None:
        self._admin = admin
        self._name = answer.getheader(NAME, "")
        self._wish = wish

    def heed(self) -> None:
        """Ask the meter for the end if the user wishes it. If it has ended already, so much the better."""
        if self._wish.is_set() and self._name:
            name, self._name = self._name, ""
            with suppress(meter.NoAnswer):
                meter.ask(self._admin, f"/v1/record/{name}/end")


def _record(answer: HTTPResponse, files: TraceFiles, time: float, stop: _Stop) -> Summary | None:
    """Write all lines; return the summary, or ``None`` if the answer broke off."""
    progress = _Progress(time)
    try:
        for text in _lines(answer):
            stop.heed()
            summary = take(text, files)
            if summary is not None:
                return summary
            progress.show(len(files.trace), len(files.samples))
    finally:
        progress.done()
    return None


def _lines(answer: HTTPResponse) -> Iterator[bytes]:
    """Return whole lines until the end, or until the connection breaks."""
    try:
        while (text := answer.readline()).endswith(b"\n"):
            yield text.strip()
    except (OSError, HTTPException):
        return


def take(text: bytes, files: TraceFiles) -> Summary | None:
    """Write what a line holds; return the summary if it is the last one. Raises ``NoAnswer``."""
    try:
        line = msgspec.json.decode(text or b"{}", type=Line)
        if line.trace:
            files.trace.add(bytes(line.trace))
        if line.nvml:
            files.samples.add(bytes(line.nvml))
    except msgspec.DecodeError as error:
        raise meter.NoAnswer(
            "what answers does not record as joulegate does: name the right address with --admin"
        ) from error
    if line.setup:
        files.setup = line.setup.copy()
    return line.end


class _Progress:
    """Shows on standard error how far a recording is."""

    def __init__(self, time: float) -> None:
        self._time = time
        self._terminal = sys.stderr.isatty()
        self._began = self._shown = monotonic()
        self._drawn = False
        if time > SHOW_FROM:
            click.echo(f"recording {time:g} s; Ctrl-C ends it early and keeps what there is", err=True)

    def show(self, rows: int, readings: int) -> None:
        """Show it, if it is time to."""
        now = monotonic()
        if self._time <= SHOW_FROM or now - self._shown < SHOW_EVERY[self._terminal]:
            return
        self._shown, self._drawn = now, self._terminal
        gone = min(seconds(Nanoseconds(now - self._began)), self._time)
        text = f"{gone:.0f} of {self._time:g} s, {rows} rows of requests, {readings} readings"
        click.echo(f"\r\x1b[K{text}" if self._terminal else text, nl=not self._terminal, err=True)

    def done(self) -> None:
        """Leave the line that was drawn."""
        if self._drawn:
            click.echo(err=True)


@contextmanager
def _interrupts() -> Iterator[Event]:
    """Turn the first Ctrl-C into a wish; the second one interrupts."""
    wish = Event()

    def wished(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 (the signature of a handler)
        signal.signal(signal.SIGINT, before)
        wish.set()

    before = signal.signal(signal.SIGINT, wished)
    try:
        yield wish
    finally:
        signal.signal(signal.SIGINT, before)


def _recorded(out: Path, summary: Summary | None, readings: int) -> Recorded:
    if summary is None:
        return Recorded(str(out), None, None, None, readings, None, None)
    return Recorded(
        out=str(out),
        reason=summary.reason,
        seconds=summary.seconds,
        requests=summary.requests,
        readings=readings,
        clipped=summary.clipped,
        left_out=summary.left_out,
    )


def _tell(found: Recorded, *, as_json: bool) -> None:
    if as_json:
        click.echo(msgspec.json.encode(found))
        return
    if found.seconds is not None:
        seen = f"{counted(found.requests or 0, 'request')}, {counted(found.readings, 'reading')}"
        click.echo(f"{found.seconds:g} s, {seen}: {found.out}")
    if found.clipped:
        click.echo(
            f"{found.clipped} of them came before the recording began: what was over by then is missing"
        )
    if found.left_out:
        click.echo(f"left out, for want of readings of their devices: {counted(found.left_out, 'request')}")
    folder = found.out
    click.echo(
        f"settle it again: joulegate replay --trace {folder}/trace.jsonl --samples {folder}/nvml.jsonl "
        f"--setup {folder}/public.json --out -"
    )
