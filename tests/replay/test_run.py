"""Replaying traces."""

import json
from typing import Any

import pytest

from joulegate.replay import METHODS, document, read, replay
from joulegate.units import NANO, Nanoseconds

SETTLE = Nanoseconds(5 * NANO)


def run(files: Any, method: str) -> dict[str, Any]:
    return document(replay(read(files.trace, files.samples, files.setup), method, SETTLE))


@pytest.mark.parametrize("method", METHODS)
def test_the_books_close_for_every_method(files: Any, method: str) -> None:
    """Per device and in total: counter = requests + idle + unattributed, in integers."""
    result = run(files, method)
    gpu = result["gpus"]["0"]

    assert gpu["counter_uj"] == 399 * 9_000_000
    assert gpu["counter_uj"] == gpu["requests_uj"] + gpu["idle_uj"] + gpu["unattributed_uj"]
    assert sum(one["energy_uj"] for one in result["requests"].values()) == gpu["requests_uj"]
    assert result["counter_uj"] == gpu["counter_uj"]
    assert list(result["requests"]) == ["r0", "r1", "r2", "r3"]
    assert all(one["energy_uj"] > 0 for one in result["requests"].values())


@pytest.mark.parametrize("method", METHODS)
def test_the_same_inputs_give_the_same_bytes(files: Any, method: str) -> None:
    """A replay is deterministic."""
    assert json.dumps(run(files, method)) == json.dumps(run(files, method))


def test_the_naive_window_shows_its_over_count(files: Any) -> None:
    """Concurrent requests each get the whole device: the excess stands below zero."""
    lines = files.trace.read_text().replace('"t": 4.0,', '"t": 2.0,').splitlines()
    rows = sorted((json.loads(line) for line in lines), key=lambda row: row["t"])
    files.trace.write_text("\n".join(map(json.dumps, rows)))

    assert run(files, "window")["unattributed_uj"] < 0


@pytest.mark.parametrize("method", [method for method in METHODS if method != "window"])
@pytest.mark.parametrize("cut", [9.9, 13.0, 20.0, 27.7])
def test_what_is_final_does_not_depend_on_what_comes_later(files: Any, method: str, cut: float) -> None:
    """Cut both files at any time: whoever was final before keeps the same integers."""
    whole = run(files, method)["requests"]
    ends = {}
    for path in (files.trace, files.samples):
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        ends |= {row["id"]: row["t"] for row in rows if row.get("ev") == "end"}
        path.write_text("\n".join(json.dumps(row) for row in rows if row["t"] < cut))
    part = run(files, method)["requests"]

    settled = [key for key, end in ends.items() if end + SETTLE / NANO + 10.5 < cut]
    assert {key: whole[key] for key in settled} == {key: part[key] for key in settled}


def test_a_request_outside_of_the_readings_is_null(files: Any) -> None:
    """Unknown is not zero."""
    rows = [json.loads(line) for line in files.samples.read_text().splitlines()]
    files.samples.write_text("\n".join(json.dumps(row) for row in rows if row["t"] > 8))
    result = run(files, "tokens")

    assert result["requests"]["r0"] == {"energy_uj": None, "sigma_uj": None, "method": "unmeasured"}
    assert result["requests"]["r3"]["energy_uj"] > 0


def test_a_restart_of_the_counter_is_seconds_and_not_joules(files: Any) -> None:
    """The time from the last good read to the first after a restart is reported."""
    rows = [json.loads(line) for line in files.samples.read_text().splitlines()]
    for row in rows[200:]:
        row["energy_mj"] -= 1_000_000
    files.samples.write_text("\n".join(map(json.dumps, rows)))
    result = run(files, "tokens")

    assert result["gaps_s"] == pytest.approx(0.1)
    assert result["counter_uj"] == 398 * 9_000_000


def test_years_of_silence_take_no_time(files: Any) -> None:
    """The virtual clock leaps over times in which nothing can happen."""
    with files.samples.open("a") as file:
        file.write(json.dumps({"t": 1e8, "gpu": 0, "energy_mj": 10**9}) + "\n")
    result = run(files, "tokens")

    assert result["counter_uj"] == 10**12 - 10_000_000


def test_a_trace_without_requests_is_all_idle(files: Any) -> None:
    """Nobody there: every joule is idle."""
    files.trace.write_text("")
    result = run(files, "tokens")

    assert result["idle_uj"] == result["counter_uj"] > 0
