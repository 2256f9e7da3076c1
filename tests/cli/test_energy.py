"""The doctor tries sources and looks at what their devices give."""

from joulegate.cli.energy import try_all, update_period
from joulegate.cli.findings import Mark
from joulegate.config.structs import Config, EnergyConfig
from joulegate.model import DeviceId, EnergySample, Tier
from joulegate.units import Microjoules, Nanoseconds


def sample(t: int, counter: int | None) -> EnergySample:
    return EnergySample(DeviceId("a"), Nanoseconds(t), None if counter is None else Microjoules(counter))


def test_update_period() -> None:
    """The time between steps of the counter, not between readings."""
    samples = [sample(t, t // 100) for t in range(0, 1_000, 10)]
    assert update_period(samples) == 100


def test_no_period_without_steps() -> None:
    """A counter that stands still, or none at all, has no known period."""
    assert update_period([]) is None
    assert update_period([sample(t, 5) for t in range(9)]) is None
    assert update_period([sample(t, None) for t in range(9)]) is None


def test_a_made_up_source_is_said_to_be_one() -> None:
    """Its devices are read for a moment and marked as nothing measured."""
    tried = try_all(Config(energy=EnergyConfig(source="fake", options={"fake": {"gpus": 2}})))
    assert (tried.best, tried.tier) == ("fake", Tier.SYNTHETIC)
    assert [finding.mark for finding in tried.findings] == [Mark.NOTE, Mark.NOTE]
    assert "MADE UP, not measured" in tried.findings[0].found
    assert "60.0 W now" in tried.findings[0].found


def test_a_source_that_does_not_work_says_why() -> None:
    """The reason and the remedy are the source's own."""
    options = {"rapl": {"root": "/no/such/folder"}}
    tried = try_all(Config(energy=EnergyConfig(source="rapl", options=options)))
    assert (tried.best, tried.tier) == (None, None)
    assert "/no/such/folder" in tried.findings[0].found


def test_wrong_options_are_found() -> None:
    """A doctor does not fall over a bad configuration."""
    tried = try_all(Config(energy=EnergyConfig(source="fake", options={"fake": {"gpu": 2}})))
    assert "energy.options.fake" in tried.findings[0].found
