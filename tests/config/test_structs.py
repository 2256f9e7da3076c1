"""The shape of the configuration and its defaults."""

import inspect

import msgspec
import pytest

from joulegate.config import structs
from joulegate.config.structs import Config, UpstreamConfig
from joulegate.config.validate import problems

STRUCTS = [
    struct
    for _, struct in inspect.getmembers(structs, inspect.isclass)
    if issubclass(struct, msgspec.Struct) and struct is not msgspec.Struct
]


def test_the_defaults_make_sense() -> None:
    """One upstream is all that must be given."""
    assert problems(Config(upstream=(UpstreamConfig("text", "http://127.0.0.1:8000"),)), {}) == []


@pytest.mark.parametrize("struct", STRUCTS)
def test_settings_are_frozen_and_closed(struct: type[msgspec.Struct]) -> None:
    """Nobody changes them at run time, and an unknown key is never ignored."""
    assert struct.__struct_config__.frozen
    assert struct.__struct_config__.forbid_unknown_fields
