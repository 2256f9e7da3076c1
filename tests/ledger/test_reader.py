"""What was written is found again, and reports are right to the digit."""

from collections.abc import Callable
from pathlib import Path
from statistics import mean, stdev

import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulegate.errors import ConfigError, LedgerUnavailable
from joulegate.ledger.backlog import Backlog
from joulegate.ledger.reader import LedgerReader
from joulegate.ledger.rows import Batch, LedgerEntry
from joulegate.ledger.schema import opened
from joulegate.ledger.writer import BatchWriter
from joulegate.model import Emissions, Node, Outcome, Part, RequestRecord, WorkClass
from joulegate.units import Micrograms, Microjoules, Nanoseconds

Records = Callable[..., RequestRecord]


def written(*records: RequestRecord) -> LedgerReader:
    connection = opened(":memory:")
    backlog = Backlog()
    backlog.add(Batch(entries=tuple(LedgerEntry(record) for record in records)))
    BatchWriter(connection).write(backlog)
    return LedgerReader(connection)


def test_a_record_is_found_by_its_id_or_its_clients(make_record: Records) -> None:
    """All of it comes back; of several with one client id the latest does."""
    first = make_record("a", client_request_id="theirs")
    second = make_record("b", client_request_id="theirs", started=Nanoseconds(5_000))
    reader = written(first, second)
    assert reader.find("a") == first
    assert reader.find("theirs") == second
    assert reader.find("c") is None
    reader.close()


def test_a_record_is_found_by_its_job(make_record: Records) -> None:
    """By the server's own id of it, with the steps that share its energy."""
    parts = (Part(Node("3", "KSampler"), Nanoseconds(5), Microjoules(7)),)
    job = make_record("a", job="7f", parts=parts)
    reader = written(job, make_record("b"))
    assert reader.find("7f") == job
    reader.close()


@given(st.lists(st.integers(0, 10**12), min_size=2, max_size=20))
def test_mean_and_deviation_are_those_of_the_requests(make_record: Records, energies: list[int]) -> None:
    """Large energies that differ little keep their deviation."""
    reader = written(*(make_record(f"r{n}", 10**12 + energy) for n, energy in enumerate(energies)))
    (row,) = reader.report(Nanoseconds(0), Nanoseconds(10**9))
    assert row.mean == pytest.approx(mean(10**12 + energy for energy in energies))
    assert row.deviation == pytest.approx(stdev(energies), rel=1e-6, abs=1)
    assert (row.requests, row.energy) == (len(energies), sum(energies) + 10**12 * len(energies))
    reader.close()


def test_only_good_inference_makes_the_mean(make_record: Records) -> None:
    """Failures and unknown energies are counted beside it; loading a model is no inference."""
    reader = written(
        make_record("a", 10, emissions=Emissions(Micrograms(4), "FRA", Micrograms(1))),
        make_record("b", 1_000, outcome=Outcome.CANCELLED),
        make_record("c", None),
        make_record("d", 5_000, work=WorkClass.MODEL_LOAD),
    )
    (row,) = reader.report(Nanoseconds(0), Nanoseconds(10**9))
    assert (row.requests, row.others, row.energy, row.mean, row.deviation) == (1, 2, 1_010, 10, None)
    assert (row.emissions, row.mean_emissions) == (4, 4)
    assert row.methods == ("tokens", "unmeasured")
    assert row.group == (("task", "chat"), ("model", "gemma"))
    reader.close()


def test_a_report_has_the_groups_and_the_time_that_were_asked_for(make_record: Records) -> None:
    """An absent word is an empty one and makes a group of its own."""
    reader = written(
        make_record("a", tenant="search"),
        make_record("b"),
        make_record("late", started=Nanoseconds(10**9)),
    )
    rows = reader.report(Nanoseconds(0), Nanoseconds(10**9), ["tenant"])
    assert [(row.group, row.requests, row.mean) for row in rows] == [
        ((("tenant", ""),), 1, 7),
        ((("tenant", "search"),), 1, 7),
    ]
    reader.close()


@pytest.mark.parametrize("word", ["record", "task; DROP TABLE requests", ""])
def test_an_unknown_word_names_the_choices(word: str) -> None:
    """A word from outside never becomes part of a query."""
    with pytest.raises(ConfigError, match="none of task, model"):
        written().report(Nanoseconds(0), Nanoseconds(1), [word])


def test_a_file_that_is_missing_or_no_ledger_is_refused(tmp_path: Path) -> None:
    """Reading never makes a file."""
    with pytest.raises(ConfigError, match="there is no file"):
        LedgerReader.open(tmp_path / "none.db")
    (tmp_path / "text.db").write_bytes(b"text" * 500)
    with pytest.raises(ConfigError, match="cannot be read"):
        LedgerReader.open(tmp_path / "text.db")
    assert not (tmp_path / "none.db").exists()


def test_a_file_that_fails_says_so() -> None:
    """A caller can answer that the ledger is away."""
    reader = written()
    reader.close()
    with pytest.raises(LedgerUnavailable, match="cannot be read"):
        reader.count()
