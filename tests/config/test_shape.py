"""Values of the wrong shape are all named, each with what it should be."""

from typing import Any

import pytest

from joulegate.config.shape import misshapen, well_shaped
from joulegate.config.structs import Config, UpstreamConfig

UPSTREAM = {"name": "a", "url": "http://h"}


@pytest.mark.parametrize(
    ("values", "what"),
    [
        ({"listen": 3}, "must be a table, written [listen]"),
        ({"upstream": {"name": "a"}}, "list of tables, each written [[upstream]]"),
        ({"upstream": [1]}, "must be a table"),
        ({"upstream": [{"name": "a"}]}, "the key 'url' is missing"),
        ({"upstreams": []}, "did you mean 'upstream'?"),
        ({"address": "x"}, "it belongs into [listen]"),
        ({"limit": "x"}, "it belongs into [budget]"),
        ({"zebra": 1}, "there are attribution, budget,"),
        ({"listen": {"gates": True}}, "True is not a whole number"),
        ({"listen": {"gates": 1.5}}, "1.5 is not a whole number"),
        ({"listen": {"address": 8080}}, "8080 is not text in quotes"),
        ({"upstream": [{**UPSTREAM, "gpus": "all"}]}, "'all' is not one of 'auto' or a list, each item"),
        ({"upstream": [{**UPSTREAM, "models": "x"}]}, "'x' is not a list, each item text in quotes"),
        ({"upstream": [{**UPSTREAM, "on_client_leave": "abrt"}]}, "did you mean 'abort'?"),
        ({"respond": {"ask_usage": "yes"}}, "'yes' is not true or false"),
        ({"energy": {"options": 1}}, "1 is not a table"),
        ([], "must be a table"),
    ],
)
def test_each_misshapen_value_says_what_it_should_be(values: Any, what: str) -> None:
    """One slip gives one problem with its remedy."""
    (problem,) = misshapen(values)
    assert what in problem.what


def test_the_rest_is_kept_for_further_checks() -> None:
    """What is right stays, what is wrong falls back to the default or to an empty text."""
    values = {
        "listen": {"gates": "x", "admin": "127.0.0.1:1"},
        "upstream": [{**UPSTREAM, "gpus": 3}, {"name": "b"}, 7],
        "carbon": 1,
        "nonsense": 2,
    }
    config = well_shaped(values, misshapen(values))
    assert config.listen.admin == "127.0.0.1:1"
    assert config.listen.gates == Config().listen.gates
    assert config.carbon == Config().carbon
    assert config.upstream == (
        UpstreamConfig("a", "http://h"),
        UpstreamConfig("b", ""),
        UpstreamConfig("", ""),
    )


def test_values_of_the_right_shape_have_no_problem() -> None:
    """Good values come through unchanged."""
    values = {"upstream": [{**UPSTREAM, "gpus": [0, "GPU-1"]}], "carbon": {"pue": 1}}
    assert misshapen(values) == []
    assert well_shaped(values, []).upstream[0].gpus == (0, "GPU-1")
