"""``joulegate record`` as a person uses it, against a meter that answers over HTTP."""

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import msgspec
import pytest

from joulegate.replay import read

SETUP = '{"setup":{"upstreams":{"llm":{"kind":"llm","gpus":[0]}},"n_gpus":1,"method":"tokens"}}'
READING = '{"nvml":{"t":0.1,"gpu":0,"energy_mj":5}}'
END_ROW = '{"trace":{"ev":"end","t":0.9,"id":"a","status":200,"usage":null,"resp_bytes":3}}'
START_ROW = (
    '{"trace":{"ev":"start","t":0.2,"id":"a","upstream":"llm","task":"chat","body_bytes":4,"stream":false}}'
)
LINES = [SETUP, READING, "", END_ROW, START_ROW]
"""A meter may tell an end first; rows are sorted by their times."""


def summary(reason: str = "done", clipped: int = 0, left_out: int = 0) -> str:
    counts = {"requests": 1, "readings": 1, "clipped": clipped, "left_out": left_out}
    return msgspec.json.encode({"end": {"reason": reason, "seconds": 2.0} | counts}).decode() + "\n"


class Meter:
    """Sends lines; before the last one it waits until it is told to go on, or to end the recording."""

    def __init__(self) -> None:
        self.lines, self.last, self.status = LINES, summary(), 200
        self.asked: list[str] = []
        self.sent, self.go_on = threading.Event(), threading.Event()
        self.go_on.set()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.asked.append(self.path)
                self.send_response(outer.status)
                self.send_header("Joulegate-Recording", "abc")
                self.end_headers()
                if self.path == "/v1/record/abc/end":
                    outer.last = summary("stopped")
                    outer.go_on.set()
                else:
                    self._send()

            def _send(self) -> None:
                self.wfile.write("".join(f"{line}\n" for line in outer.lines).encode())
                outer.sent.set()
                while not outer.go_on.wait(0.05):
                    self.wfile.write(b"\n")
                self.wfile.write(outer.last.encode())

            def log_message(self, *_: object) -> None: ...

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"127.0.0.1:{self.server.server_address[1]}"


@pytest.fixture
def meter() -> Iterator[Meter]:
    meter = Meter()
    thread = threading.Thread(target=meter.server.serve_forever, args=(0.01,))
    thread.start()
    yield meter
    meter.go_on.set()
    meter.server.shutdown()
    thread.join()
    meter.server.server_close()


@pytest.fixture
def record(joulegate: Callable[..., Any], meter: Meter, tmp_path: Path) -> Callable[..., Any]:
    def run(*options: str) -> Any:
        return joulegate("record", "--admin", meter.address, "--out", str(tmp_path / "out"), *options)

    return run


def trace(folder: Path) -> Any:
    return read(folder / "trace.jsonl", folder / "nvml.jsonl", folder / "public.json")


def test_three_files_are_written_and_the_next_step_is_said(
    record: Callable[..., Any], meter: Meter, tmp_path: Path
) -> None:
    """What `joulegate replay` takes, and how to call it."""
    result = record("--seconds", "2")
    assert result.exit_code == 0, result.output
    assert meter.asked == ["/v1/record?seconds=2"]
    assert "2 s, 1 request, 1 reading" in result.stdout
    assert f"joulegate replay --trace {tmp_path}/out/trace.jsonl" in result.stdout
    assert list(trace(tmp_path / "out").tasks) == ["a"]
    assert result.stderr == ""


def test_a_program_gets_json_and_a_person_sees_progress(record: Callable[..., Any], meter: Meter) -> None:
    """Nothing but JSON on standard output; what takes over two seconds says so."""
    meter.last = summary(clipped=2, left_out=3)
    result = record("--seconds", "60", "--json")
    found = msgspec.json.decode(result.stdout)
    assert (found["reason"], found["requests"], found["clipped"], found["left_out"]) == ("done", 1, 2, 3)
    assert "recording 60 s; Ctrl-C ends it early" in result.stderr


def test_what_a_trace_cannot_tell_is_said(record: Callable[..., Any], meter: Meter) -> None:
    """Requests that are cut off at the start, and those that are not there."""
    meter.last = summary(clipped=2, left_out=3)
    output = record().stdout
    assert "2 of them came before the recording began" in output
    assert "left out, for want of readings of their devices: 3 requests" in output


@pytest.mark.parametrize(
    ("last", "says"),
    [
        (summary("slow"), "too slow"),
        (summary("meter_stopped"), "the meter was stopped"),
        (summary("crowded"), "more was under way"),
        (summary("failed"), "a fault of the meter"),
        ("", "it broke off"),
        ('{"nvml":{"t":0.2', "it broke off"),
    ],
)
def test_a_recording_that_was_cut_short_is_kept_and_told(
    record: Callable[..., Any], meter: Meter, tmp_path: Path, last: str, says: str
) -> None:
    """The files are a trace of the time until then; the exit code is 1."""
    meter.last = last
    result = record()
    assert (result.exit_code, says in result.stderr) == (1, True)
    assert list(trace(tmp_path / "out").tasks) == ["a"]


def test_ctrl_c_ends_it_early_and_keeps_what_there_is(meter: Meter, tmp_path: Path) -> None:
    """The meter is asked for the rest, so that the trace is whole."""
    meter.go_on.clear()
    command = [
        sys.executable,
        "-m",
        "joulegate",
        "record",
        "--admin",
        meter.address,
        "--out",
        str(tmp_path / "o"),
    ]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert meter.sent.wait(30)
    os.kill(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, "2 s, 1 request" in out) == (0, True), err
    assert meter.asked[-1] == "/v1/record/abc/end"
    assert list(trace(tmp_path / "o").tasks) == ["a"]


def test_a_trace_that_is_there_is_not_overwritten(
    record: Callable[..., Any], meter: Meter, tmp_path: Path
) -> None:
    """And the meter is not even asked."""
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "nvml.jsonl").write_text("mine")
    result = record()
    assert (result.exit_code, "nvml.jsonl is there already" in result.stderr) == (2, True)
    assert meter.asked == []


@pytest.mark.parametrize("line", ["garbage", '{"trace":{"n":1}}', '{"end":{"reason":"done"}}', "[]"])
def test_what_is_no_meter_is_named(
    record: Callable[..., Any], meter: Meter, tmp_path: Path, line: str
) -> None:
    """Nothing is written then."""
    meter.lines = [SETUP, line]
    result = record()
    assert (result.exit_code, "does not record as joulegate does" in result.stderr) == (1, True)
    assert list((tmp_path / "out").iterdir()) == []


def test_a_refusal_says_why(record: Callable[..., Any], meter: Meter, tmp_path: Path) -> None:
    """Nothing is written then."""
    meter.status, meter.lines, meter.last = 429, [], '{"error":"2 recordings run already: try again"}'
    result = record()
    assert (result.exit_code, "try again" in result.stderr) == (1, True)
    assert not (tmp_path / "out").exists()


def test_nobody_there_is_told(joulegate: Callable[..., Any], tmp_path: Path) -> None:
    """With the remedy."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        result = joulegate(
            "record", "--admin", f"127.0.0.1:{taken.getsockname()[1]}", "--out", str(tmp_path / "o")
        )
    assert (result.exit_code, "--admin" in result.stderr) == (1, True)


@pytest.mark.parametrize("seconds", ["0", "-3", "3601", "soon"])
def test_a_wrong_time_is_refused(record: Callable[..., Any], meter: Meter, seconds: str) -> None:
    """Before anybody is asked."""
    result = record("--seconds", seconds)
    assert (result.exit_code, meter.asked) == (2, [])
