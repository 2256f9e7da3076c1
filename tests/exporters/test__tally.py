import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from joulegate.model import Outcome, Task, TaskTotals, WorkClass, alike
from joulegate.testing.records import RECORD, record
from joulegate.units import Microjoules, Nanoseconds
from joulegate_exporters._tally import HISTOGRAMS, WASTE, Tally, bounded, by_class, folded

LABELS = st.tuples(st.sampled_from("ab"), st.sampled_from("cd"), st.sampled_from("ef"))


def take(tally, *records):
    for group in alike(records):
        tally.records(group)


WHOLE = [Outcome.OK, Outcome.CANCELLED, Outcome.UPSTREAM_ERROR]


@given(st.lists(st.tuples(st.sampled_from(WHOLE), st.sampled_from("ab"), st.integers(0, 10**9))))
def test_together_is_the_same_as_one_by_one(works):
    """Sums and observations do not depend on how many come at once."""
    records = [
        record(outcome=outcome, model=model, energy=size, duration=Nanoseconds(size), overhead_request=size)
        for outcome, model, size in works
    ]
    one_by_one, together = Tally(), Tally()
    for single in records:
        take(one_by_one, single)
    take(together, *records)
    assert together.counters == one_by_one.counters
    assert together.histograms == one_by_one.histograms


@given(st.dictionaries(LABELS, st.integers(0, 10**18)), st.integers(0, 3))
def test_folding_keeps_the_sum(counts, keep):
    """Sums over labels lose nothing."""
    assert sum(folded(counts, keep=keep).values()) == sum(counts.values())


@given(st.lists(st.tuples(st.text(max_size=3), st.integers(0, 100))), st.integers(1, 5))
def test_bounding_keeps_the_sum(pairs, bound):
    """Names beyond a bound go into ``other`` with all that they had, and no name comes twice."""
    found = list(bounded(pairs, bound))
    assert sum(value for _, value in found) == sum(value for _, value in pairs)
    assert len(dict(found)) == len(found) <= bound


@pytest.mark.parametrize(
    ("duration", "bucket"),
    [(0, 0), (10_000_000, 0), (10_000_001, 1), (81_920_000_000, 13), (81_920_000_001, 14), (-5, 0)],
)
def test_bucket_of_a_value(make_record, duration, bucket):
    """A bucket holds what is at most its bound, as ``le`` says; the last one holds the rest."""
    tally = Tally()
    take(tally, make_record(duration=Nanoseconds(duration)))
    (observed,) = tally.histograms["request_duration_seconds"].values()
    assert observed.index(1) == bucket
    assert len(observed) == len(HISTOGRAMS["request_duration_seconds"]) + 2
    assert observed[-1] == max(duration, 0)


def test_every_outcome_is_waste_or_not():
    """The outcomes whose energy is not waste are those in which somebody got an answer, or had left."""
    received = {Outcome.OK, Outcome.CLIENT_ERROR}
    left = {Outcome.CANCELLED, Outcome.OVERRAN, Outcome.CLIENT_TIMEOUT}
    assert set(Outcome) - set(WASTE) == received | left


@given(st.lists(st.tuples(st.sampled_from(WorkClass), st.sampled_from(Task), st.integers(0, 10**9))))
def test_each_class_of_work_has_its_sum(works):
    """Probes and loads never enter inference, whatever their task says, and nothing is lost."""
    tally = Tally()
    for work, task, energy in works:
        take(tally, record(energy=energy, work=work, task=task))
    sums = by_class(tally.counters["energy_joules_total"])
    for work in WorkClass:
        assert sums[work.value,] == sum(energy for kind, _, energy in works if kind is work)


def test_only_models_with_a_place_have_a_kind():
    """A kind is shown of models that have a label and whose kind is known."""
    tally = Tally()
    take(tally, record(model="known"))
    row = TaskTotals(Task.CHAT, "known", 1, Microjoules(1), None, "multi-purpose")
    rows = [
        row,
        replace(row, model="elsewhere"),
        replace(row, model_kind=None),
        replace(row, task=Task.RERANK),
    ]
    assert tally.model_kinds(rows) == {("known", "multi-purpose"): 1}


@pytest.mark.parametrize(("outcome", "reason"), [("cancelled", "client_left"), ("overran", "server_went_on")])
def test_waste_says_whose_doing_it_is(outcome, reason):
    """What was burnt after the client left is the client's until the server should have stopped."""
    tally = Tally()
    settled = replace(RECORD.settled, wasted=Microjoules(7))
    take(tally, record(settled=settled, outcome=Outcome(outcome)))
    wasted = tally.counters["wasted_energy_joules_total"]
    assert {labels: energy for labels, energy in wasted.items() if energy} == {(reason,): 7}
