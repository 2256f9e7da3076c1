"""joulegate's own figures for a mix, by ``joulegate replay``, where joulegate can be imported."""

import sys
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from records import Row

ROOT = Path(__file__).resolve().parents[2]
SETTLE = 30_000_000_000
METHOD = "step-clock"


@dataclass(frozen=True)
class Judged:
    """A class of requests in a mix; joules."""

    name: str
    requests: int
    truth: float
    attributed: float | None


@dataclass(frozen=True)
class Attributed:
    """What replay says of a mix; joules, and the books in microjoules."""

    by_request: dict[str, float]
    idle: float
    unattributed: float
    off_balance: int
    """Counter less requests, idle and unattributed: 0, or something is broken."""


def attribute(folder: Path) -> Attributed | None:
    """Settle a mix again; ``None`` if joulegate or what it needs is not there."""
    for part in ("proxy", "exporters"):
        if str(ROOT / part) not in sys.path:
            sys.path.append(str(ROOT / part))
    try:
        from joulegate.replay import read, replay
        from joulegate.units import Nanoseconds
    except ImportError:
        return None
    trace = read(folder / "trace.jsonl", folder / "nvml.jsonl", folder / "public.json")
    result = replay(trace, METHOD, Nanoseconds(SETTLE))
    return Attributed(
        {key: (figure.energy or 0) / 1e6 for key, figure in result.requests.items()},
        sum(one.idle for one in result.books) / 1e6,
        sum(one.unattributed for one in result.books) / 1e6,
        sum(one.counter - one.requests - one.idle - one.unattributed for one in result.books),
    )


def classes(truths: Sequence[Row], found: Attributed | None) -> list[Judged]:
    """Return truth and figure of each class, the largest first."""
    members: dict[str, list[Row]] = defaultdict(list)
    for row in truths:
        members[f"{row['upstream']}/{row['task']}"].append(row)
    judged = [
        Judged(
            name,
            len(rows),
            sum(row["causal"] for row in rows),
            sum(found.by_request[row["id"]] for row in rows) if found else None,
        )
        for name, rows in members.items()
    ]
    return sorted(judged, key=lambda one: -one.truth)


def wape(truths: Sequence[Row], found: Attributed) -> float:
    """Return the sum of absolute errors by the sum of truth."""
    total = sum(row["causal"] for row in truths)
    off = sum(abs(found.by_request[row["id"]] - row["causal"]) for row in truths)
    return off / total if total else 0.0
