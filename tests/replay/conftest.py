"""A tiny trace on disk."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

SETUP = {"upstreams": {"llm": {"kind": "llm", "gpus": [0]}}, "n_gpus": 1, "idle_w": 75.0}


def rows() -> list[dict[str, Any]]:
    """Two streams and an answer in one piece, half a minute."""
    found: list[dict[str, Any]] = []
    for place, start in enumerate((2.0, 4.0, 9.0, 15.0)):
        key, steps = f"r{place}", 40 * (place + 1)
        times = [round(start + 0.05 + 0.01 * i, 4) for i in range(steps)]
        end = round(times[-1] + 0.001, 5)
        usage = {"prompt_tokens": 100, "completion_tokens": steps}
        found.append(
            {
                "ev": "start",
                "t": start,
                "id": key,
                "upstream": "llm",
                "task": "chat",
                "body_bytes": 400,
                "stream": place != 2,
            }
        )
        closed = {"ev": "end", "t": end, "id": key, "status": 200, "usage": usage, "resp_bytes": 4 * steps}
        if place != 2:
            found.append({"ev": "first_byte", "t": times[0], "id": key})
            closed |= {"chunk_t": times, "chunk_b": [4] * steps}
        found.append(closed)
    return sorted(found, key=lambda row: row["t"])


def samples() -> list[dict[str, Any]]:
    return [
        {"t": round(i / 10, 4), "gpu": 0, "energy_mj": 10_000 + i * 9_000, "power_mw": 90_000}
        for i in range(400)
    ]


class Files:
    """The three files of a trace and ways to spoil them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.trace, self.samples, self.setup = (
            folder / "trace.jsonl",
            folder / "nvml.jsonl",
            folder / "public.json",
        )
        self.write(rows(), samples(), SETUP)

    def write(self, trace: list[Any], readings: list[Any], setup: Any) -> None:
        self.trace.write_text("".join(json.dumps(row) + "\n" for row in trace))
        self.samples.write_text("".join(json.dumps(row) + "\n" for row in readings))
        self.setup.write_text(json.dumps(setup))


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


@pytest.fixture
def spoil(files: Files) -> Callable[..., Files]:
    def change(file: str, place: int, **fields: Any) -> Files:
        path = files.folder / file
        lines = path.read_text().splitlines()
        row = json.loads(lines[place]) | fields
        lines[place] = json.dumps({name: value for name, value in row.items() if value != "absent"})
        path.write_text("\n".join(lines) + "\n")
        return files

    return change
