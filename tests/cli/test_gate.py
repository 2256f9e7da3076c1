"""``gate``: the relay process alone."""

from collections.abc import Callable

from click.testing import Result

Run = Callable[..., Result]
URL = "http://127.0.0.1:1"


def test_it_needs_a_socket(joulegate: Run) -> None:
    """A half alone must know where the other one is."""
    result = joulegate("gate", "--upstream", URL)
    assert result.exit_code == 2
    assert "--socket" in result.stderr


def test_a_wrong_configuration_is_told_before_anything_starts(joulegate: Run) -> None:
    """Exit code 2 with the place."""
    result = joulegate("gate", "--upstream", URL, "--socket", "/x", "--zone", "fr")
    assert result.exit_code == 2
    assert "--zone: carbon.zone" in result.stderr
