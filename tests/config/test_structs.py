"""The shape of the configuration and its defaults."""

import inspect
from typing import Any

import msgspec
import pytest

from joulegate.config import structs
from joulegate.config.addresses import Endpoint
from joulegate.config.fields import keys
from joulegate.config.load import load
from joulegate.config.structs import Config, UpstreamConfig
from joulegate.config.validate import problems

STRUCTS = [
    struct
    for _, struct in inspect.getmembers(structs, inspect.isclass)
    if issubclass(struct, msgspec.Struct) and struct.__module__ == structs.__name__
]


def test_the_defaults_make_sense() -> None:
    """One upstream is all that must be given."""
    assert (
        problems(Config(upstream=(UpstreamConfig("text", (Endpoint("http", "127.0.0.1", 8000),)),)), {}) == []
    )


@pytest.mark.parametrize("struct", STRUCTS)
def test_settings_are_frozen_and_closed(struct: type[msgspec.Struct]) -> None:
    """Nobody changes them at run time, and an unknown key is never ignored."""
    assert struct.__struct_config__.frozen
    assert struct.__struct_config__.forbid_unknown_fields


@pytest.mark.parametrize("struct", STRUCTS)
def test_every_default_can_be_written_in_a_file(struct: type[msgspec.Struct]) -> None:
    """A default is a value that its own parser and bounds accept."""
    for key in keys(struct).values():
        if key.text is None or key.default in (None, msgspec.NODEFAULT):
            continue
        assert key.text.parse(key.text.show(key.default)) == key.default


def test_it_goes_from_process_to_process_without_being_checked_again(good: str, written: Any) -> None:
    """Typed values come out of a binary file as they went in."""
    config = load(written(good + '\n[[tenant]]\nname = "t"\nkey_env = "T"\n[timeout]\nidle = "5 min"\n'))
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(config), type=Config) == config
