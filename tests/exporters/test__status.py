import msgspec

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
