"""The rules that a configuration may ask for are the rules there are."""

from joulegate import attribution
from joulegate.config.validate import METHODS


def test_the_configuration_knows_every_rule() -> None:
    """A rule that cannot be asked for, or that does not exist, is found here and not by a user."""
    assert set(METHODS) == {"auto", *attribution.RULES}
