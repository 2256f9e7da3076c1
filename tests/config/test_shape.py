"""Values of the wrong shape are all named, each with what it should be."""

from typing import Any

import pytest

from joulegate.config.addresses import Endpoint, address
from joulegate.config.shape import parsed
from joulegate.config.structs import Config, UpstreamConfig
from joulegate.model import Task
from joulegate.units import NANO

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
        ({"upstream": [{**UPSTREAM, "url": 3}]}, "3 is not text in quotes or a list, each item text in"),
        ({"upstream": [{**UPSTREAM, "task": "chatt"}]}, "did you mean 'chat'?"),
        ({"upstream": [{**UPSTREAM, "task": 1}]}, "1 is not text in quotes"),
        ({"listen": {"gates": 1_025}}, "1025 is not between 0 and 1024"),
        ({"carbon": {"pue": float("nan")}}, "nan is not between 1 and 10"),
        ({"timeout": {"idle": 5}}, "5 is not text in quotes"),
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
    _, (problem,) = parsed(values)
    assert what in problem.what


def test_the_rest_is_kept_for_further_checks() -> None:
    """What is right stays, what is wrong falls back to the default or to an empty text."""
    values = {
        "listen": {"gates": "x", "admin": "127.0.0.1:1"},
        "upstream": [{**UPSTREAM, "gpus": 3}, {"name": "b"}, 7],
        "carbon": 1,
        "nonsense": 2,
    }
    config, problems = parsed(values)
    assert len(problems) == 6
    assert config.listen.admin == address("127.0.0.1:1")
    assert config.listen.gates == Config().listen.gates
    assert config.carbon == Config().carbon
    assert config.upstream == (
        UpstreamConfig("a", (Endpoint("http", "h", 80),)),
        UpstreamConfig("b", ()),
        UpstreamConfig("", ()),
    )


def test_values_of_the_right_shape_have_no_problem() -> None:
    """Good values come out typed."""
    values = {
        "upstream": [{**UPSTREAM, "gpus": [0, "GPU-1"], "task": "chat"}],
        "carbon": {"pue": 1, "intensity": "56 g/kWh"},
        "timeout": {"idle": "2 min"},
    }
    config, problems = parsed(values)
    assert problems == []
    assert (config.upstream[0].gpus, config.upstream[0].task) == ((0, "GPU-1"), Task.CHAT)
    assert (config.carbon.pue, config.carbon.intensity, config.timeout.idle) == (1.0, 56 * 10**6, 120 * NANO)


def test_replicas_are_a_list_of_urls_or_one() -> None:
    """One URL needs no brackets; a wrong one of several is named by its number."""
    config, _ = parsed({"upstream": [{"name": "a", "url": ["http://h", "http://i:1"]}]})
    assert config.upstream[0].endpoints == (Endpoint("http", "h", 80), Endpoint("http", "i", 1))
    _, (problem,) = parsed({"upstream": [{"name": "a", "url": ["http://h", "i"]}]})
    assert problem.path == ("upstream", 0, "url", 1)
