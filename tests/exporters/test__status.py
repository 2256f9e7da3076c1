import msgspec
import pytest

from joulegate.units import NANO, Nanoseconds
from joulegate_exporters._status import samples
from joulegate_exporters.catalogue import by_name


def test_samples_fit_the_catalogue(status):
    """Every sample belongs to a family and has a value for each of its labels."""
    families = by_name()
    found = list(samples(status))
    assert found
    for name, labels, value in found:
        assert len(labels) == len(families[name].labels)
        assert isinstance(value, int)


def test_what_is_not_known_has_no_sample(status, device_status):
    """A figure that is not known gives no sample, rather than one that says zero."""
    blind = msgspec.structs.replace(
        device_status,
        device=msgspec.structs.replace(device_status.device, power_limit=None),
        power=None,
        idle_power=None,
        last_sample_age=None,
    )
    bare = msgspec.structs.replace(status, devices=(blind,), carbon=None, ledger=None, budgets=())
    names = {name for name, _, _ in samples(bare)}
    assert not names & {
        "gpu_power_watts",
        "gpu_idle_power_watts",
        "gpu_power_limit_watts",
        "sample_age_seconds",
    }
    assert not any(name.startswith(("carbon_", "ledger_", "budget_")) for name in names)
    assert [labels for name, labels, _ in samples(bare) if name == "upstream_up"] == [("text", "llamacpp")]


def test_replicas_show_each_for_itself(status):
    """A lost replica shows beside its upstream that is up; one that nobody asked has no sample."""
    found = [(name, labels, value) for name, labels, value in samples(status) if "replica" in name]
    assert [(labels[1], value) for name, labels, value in found if name == "upstream_replica_up"] == [
        ("127.0.0.1:8000", 1),
        ("127.0.0.1:8002", 0),
    ]
    busy = [value for name, _, value in found if name == "upstream_replica_inflight_requests"]
    assert busy == [3, 0, 0]


def test_budgets_by_unit(status):
    """A budget of energy has no figures in grams, and a budget of emissions none in joules."""
    found = {(name, labels[0]) for name, labels, _ in samples(status) if name.startswith("budget_")}
    assert {name for name, budget in found if budget == "day"} == {
        "budget_limit_joules", "budget_used_joules", "budget_energy_joules_total",
        "budget_period_seconds", "budget_period_end_timestamp_seconds",
    }  # fmt: skip
    assert {name for name, budget in found if budget == "carbon"} == {
        "budget_limit_grams", "budget_used_grams", "budget_co2e_grams_total",
        "budget_period_seconds", "budget_period_end_timestamp_seconds",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("fields", "seconds"),
    [
        ({"age": 5 * NANO, "year": 2024}, 5),
        ({"age": None, "year": 2024}, 365 * 86_400),
        ({"age": None, "year": 2026}, 0),
        ({"age": None, "year": None}, None),
    ],
)
def test_age_of_the_intensity(status, fields, seconds):
    """A live intensity says its age, a yearly one has it from its year, one of the user's own has none."""
    carbon = msgspec.structs.replace(status.carbon, **fields)
    now = Nanoseconds(1_767_225_600 * NANO)  # 2026-01-01T00:00:00Z
    found = [
        value
        for name, _, value in samples(msgspec.structs.replace(status, carbon=carbon, now=now))
        if name == "carbon_intensity_age_seconds"
    ]
    assert found == ([] if seconds is None else [seconds * NANO])
