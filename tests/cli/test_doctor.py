"""``doctor`` ends with a verdict and a code that a script can use."""

import json
from collections.abc import Callable

import pytest
from click.testing import Result

from joulegate.cli.doctor import judge
from joulegate.cli.energy import Tried
from joulegate.cli.findings import Finding, Mark
from joulegate.model import Tier

Run = Callable[..., Result]
GOOD = Finding("python", Mark.GOOD, "3.13")


@pytest.mark.parametrize(
    ("tier", "code", "words"),
    [
        (Tier.COUNTER, 0, "can be measured here: x, by an energy counter"),
        (Tier.POWER, 0, "by power readings"),
        (Tier.ESTIMATE, 3, "only be MODELLED"),
        (Tier.SYNTHETIC, 3, "MADE UP"),
        (None, 3, "cannot be measured"),
    ],
)
def test_verdicts(tier: Tier | None, code: int, words: str) -> None:
    """Only a counter or power readings are measurements."""
    found = judge([GOOD], Tried((), "x" if tier else None, tier))
    assert found[0] == code
    assert words in found[1]


def test_what_keeps_joulegate_from_starting_comes_first() -> None:
    """A good meter is of no use where the port is taken."""
    code, verdict = judge([GOOD, Finding("proxy", Mark.BAD, "taken")], Tried((), "nvml", Tier.COUNTER))
    assert code == 1
    assert "proxy" in verdict


def test_for_people(joulegate: Run) -> None:
    """All findings, then the verdict."""
    result = joulegate(
        "doctor",
        "--source",
        "fake",
        "--ledger",
        ":memory:",
        "--listen",
        "127.0.0.1:0",
        "--admin",
        "127.0.0.1:0",
    )
    assert result.exit_code == 3
    assert result.output.splitlines()[-1].startswith("verdict: watts are MADE UP here (fake)")
    assert "event loop" in result.output


def test_for_programs(joulegate: Run) -> None:
    """JSON on standard output and nothing else."""
    result = joulegate(
        "doctor", "--source", "fake", "--json", "--upstream", "http://127.0.0.1:1", "--listen", "127.0.0.1:0",
        "--admin", "127.0.0.1:0",
    )  # fmt: skip
    answer = json.loads(result.stdout)
    assert (answer["code"], answer["source"], answer["tier"]) == (3, "fake", "synthetic")
    assert "upstream default" in [finding["subject"] for finding in answer["findings"]]
