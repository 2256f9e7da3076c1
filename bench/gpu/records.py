"""The raw data of a run, written block by block, so that what was measured before a crash stays.

``run.json`` (what and where), ``blocks.jsonl`` (a row for each block), ``steps.jsonl`` (each step of each
engine), ``requests.jsonl`` (what the clients saw), ``samples.jsonl`` (each reading of the GPU). Times are
nanoseconds of the host's monotonic clock.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from engine import Running, Step

Row = dict[str, Any]
FILES = ("blocks", "steps", "requests", "samples")
COLUMNS = ("step", "tok", "kv", "pf", "pfx", "istep", "mps", "mps2")
"""What energy is explained by: steps, decoded tokens, cached tokens read, prefilled tokens, those times the
tokens before them; denoising steps, megapixel-steps and those with the square of the megapixels."""


@dataclass
class Run:
    """A run read back."""

    facts: Row = field(default_factory=dict)
    blocks: list[Row] = field(default_factory=list)
    steps: list[Row] = field(default_factory=list)
    requests: list[Row] = field(default_factory=list)
    samples: list[Row] = field(default_factory=list)

    def kind(self, *kinds: str) -> list[Row]:
        """Return the blocks of some kinds that were run."""
        return [block for block in self.blocks if block["kind"] in kinds and not block.get("skipped")]

    def during(self, block: Row) -> list[Row]:
        """Return the steps of a block."""
        return [step for step in self.steps if step["b"] == block["name"]]

    def of(self, block: Row) -> list[Row]:
        """Return the requests of a block."""
        return [request for request in self.requests if request["b"] == block["name"]]


class Recorder:
    """Appends to the files of a run."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder

    def facts(self, facts: Row) -> None:
        (self.folder / "run.json").write_text(json.dumps(facts, indent=1) + "\n")

    def add(self, file: str, rows: Iterable[Row]) -> None:
        with (self.folder / f"{file}.jsonl").open("a") as out:
            out.writelines(json.dumps(row, separators=(",", ":")) + "\n" for row in rows)


def load(folder: Path) -> Run:
    """Read a run. A block that was measured twice counts once, as it was the last time."""
    parts = {file: _rows(folder / f"{file}.jsonl") for file in FILES}
    blocks = {row["name"]: row for row in parts["blocks"]}
    kept = {
        file: [row for row in parts[file] if row["b"] in blocks and _inside(row, blocks[row["b"]])]
        for file in ("steps", "requests")
    }
    facts = json.loads((folder / "run.json").read_text())
    return Run(facts, list(blocks.values()), kept["steps"], kept["requests"], parts["samples"])


def language_row(block: str, step: Step, *, names: bool) -> Row:
    """Return the row of an engine step; ``names`` keeps who took part."""
    row: Row = {
        "b": block,
        "t": [step.begun, step.ended],
        "step": 1,
        "tok": len(step.decodes),
        "kv": sum(context for _, context in step.decodes),
        "pf": sum(new for _, new, _ in step.prefills),
        "pfx": sum(new * (before + new / 2) for _, new, before in step.prefills),
    }
    return row | ({"d": step.decodes, "p": step.prefills} if names else {})


def image_row(block: str, times: Sequence[int], latent: int, batch: int, name: str | None = None) -> Row:
    """Return the row of a denoising step."""
    megapixels = (8 * latent) ** 2 / 2**20
    row: Row = {"b": block, "t": list(times), "istep": 1}
    row |= {"mps": megapixels * batch, "mps2": megapixels**2 * batch}
    return row | ({"i": name} if name else {})


def request_row(block: str, one: Running, begin: int) -> Row:
    """Return what the client of a language model saw."""
    ask = one.ask
    words = {"id": ask.id, "task": ask.task, "prompt": ask.prompt, "out": ask.out, "stream": ask.stream}
    return {
        "b": block,
        "u": "llm",
        **words,
        "arrived": begin + ask.at,
        "chunks": one.chunks,
        "left": one.left,
    }


def _rows(path: Path) -> list[Row]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def _inside(row: Row, block: Row) -> bool:
    return block["begun"] <= (row["t"][0] if "t" in row else row["arrived"]) <= block["ended"]
