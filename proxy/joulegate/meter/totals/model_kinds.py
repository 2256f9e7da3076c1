"""What a model was made for: one task, or whatever its prompt says. Pure but for reading the shipped table.

The study (Luccioni et al. 2023, arXiv 2311.16863) compares the two. ``model_kinds.csv`` goes by names: one
pattern a row with its own source. It was written for joulegate and is dedicated to the public domain. A name
that no row knows is of no known kind. The configuration's ``[[model]]`` wins over the table.
"""

import csv
from collections.abc import Iterable
from functools import lru_cache
from importlib.resources import files

from joulegate.config import ModelConfig
from joulegate.globs import compiled

TASK_SPECIFIC = "task-specific"
MULTI_PURPOSE = "multi-purpose"
_KEPT = 4_096
"""Names whose kind is remembered: a client may make up any number of them."""


class ModelKinds:
    """Knows the kind of a model by its name; the first pattern that fits wins."""

    def __init__(self, configured: Iterable[ModelConfig] = ()) -> None:
        rows = [(model.name, model.kind) for model in configured] + shipped()
        self._rows = [(compiled(name, ignore_case=True), kind) for name, kind in rows]
        self.of = lru_cache(_KEPT)(self._of)
        """Gives the kind of a model, or ``None`` if it is not known."""

    def _of(self, model: str) -> str | None:
        name = model.rpartition("/")[2]
        for pattern, kind in self._rows:
            if pattern.fullmatch(model) or pattern.fullmatch(name):
                return kind
        return None


def shipped() -> list[tuple[str, str]]:
    """Return the rows of the table: a pattern and a kind."""
    text = files("joulegate.meter.totals").joinpath("model_kinds.csv").read_text(encoding="utf-8")
    return [(row["pattern"], row["kind"]) for row in csv.DictReader(text.splitlines())]
