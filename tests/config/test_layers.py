"""The command line is laid over the file, and each value keeps its origin."""

import pytest

from joulegate.config.layers import Flags, Layer, from_flags, merged, origin_of
from joulegate.errors import ConfigError

FILE = Layer(
    {"listen": {"address": "a:1", "gates": 2}, "upstream": [{"name": "x", "url": "http://x"}]},
    {
        ("listen",): "f:1",
        ("listen", "address"): "f:2",
        ("listen", "gates"): "f:3",
        ("upstream", 0): "f:4",
        ("upstream", 0, "name"): "f:5",
    },
)


def test_a_flag_wins_over_the_file_and_leaves_its_neighbours() -> None:
    """Only the value that a flag names changes."""
    layer = merged(FILE, from_flags(Flags(listen="b:2", zone="FRA")))
    assert layer.values["listen"] == {"address": "b:2", "gates": 2}
    assert origin_of(layer, ("listen", "address")) == "--listen"
    assert origin_of(layer, ("listen", "gates")) == "f:3"
    assert origin_of(layer, ("carbon", "zone")) == "--zone"


def test_upstreams_of_the_command_line_replace_those_of_the_file() -> None:
    """A mixture of both would route requests in a way that nobody wrote down."""
    layer = merged(FILE, from_flags(Flags(upstream=["http://y"])))
    assert layer.values["upstream"] == [{"name": "default", "url": "http://y"}]
    assert origin_of(layer, ("upstream", 0, "name")) == "--upstream"


def test_no_flags_change_nothing() -> None:
    """A flag that is not given leaves the file as it is."""
    assert merged(FILE, from_flags(Flags())) == FILE


def test_further_upstreams_are_reached_under_their_names() -> None:
    """The first upstream takes the rest, each further one has its name as the path."""
    layer = from_flags(Flags(upstream=["text=http://x", "image=http://y?a=b"]))
    assert layer.values["upstream"] == [
        {"name": "text", "url": "http://x"},
        {"name": "image", "url": "http://y?a=b", "path": "/image", "strip_path": True},
    ]


def test_further_upstreams_need_names() -> None:
    """Two upstreams without names could not be told apart."""
    with pytest.raises(ConfigError, match="give each further upstream a name"):
        from_flags(Flags(upstream=["http://x", "http://y"]))


def test_a_section_that_is_no_table_is_left_for_the_check() -> None:
    """A broken file does not break the laying-over."""
    layer = merged(Layer({"listen": 3}, {}), from_flags(Flags(gates=2)))
    assert layer.values == {"listen": {"gates": 2}}
    assert origin_of(layer, ("energy", "source")) is None


def test_urls_with_commas_are_replicas() -> None:
    """With and without a name; blanks do not matter."""
    layer = from_flags(Flags(upstream=["http://a,http://b", "text=http://c, http://d"]))
    assert [one["url"] for one in layer.values["upstream"]] == [
        ["http://a", "http://b"],
        ["http://c", "http://d"],
    ]
