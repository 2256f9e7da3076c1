"""Errors are told in whole lines and end a process with a documented code."""

import pytest

from joulegate.errors import ConfigError, JoulegateError, PluginError, exit_code, message_lines


@pytest.mark.parametrize(
    ("error", "code"), [(ConfigError("x"), 2), (PluginError("x"), 2), (JoulegateError("x"), 1)]
)
def test_the_exit_code_says_whose_turn_it_is(error: JoulegateError, code: int) -> None:
    """2 is wrong until somebody changes what was asked for; 1 may be right the next time."""
    assert exit_code(error) == code


def test_each_line_says_who_speaks() -> None:
    """Among the lines of other programs each of ours is known."""
    assert message_lines(ConfigError("a: wrong\nb: wrong")) == "joulegate: a: wrong\njoulegate: b: wrong\n"
