"""Upstreams must make sense each by itself and all together."""

from typing import Any

import pytest

from joulegate.config.problems import Problem
from joulegate.config.shape import parsed
from joulegate.config.upstreams import addresses, problems

URL = "http://127.0.0.1:8000"


def problems_of(*upstreams: dict[str, Any], **listen: Any) -> list[Problem]:
    """Give what is wrong with each value and with all of them together."""
    given = [{"name": "a", "url": URL, **upstream} for upstream in upstreams]
    config, wrong = parsed({"upstream": given, "listen": listen})
    return wrong or list(problems(config, ["vllm"]))


@pytest.mark.parametrize(
    ("upstream", "key", "what"),
    [
        ({"name": "a b"}, "name", "no name"),
        ({"url": "host:1"}, "url", "no upstream URL"),
        ({"ca_file": "/ca.pem"}, "ca_file", "write https://"),
        ({"url": "https://h", "ca_file": ""}, "ca_file", "empty"),
        ({"path": "image"}, "path", "begin with a slash"),
        ({"path": "/"}, "path", "begin with a slash"),
        ({"path": "/image/"}, "path", "'/image'"),
        ({"path": "/a b"}, "path", "percent-encoded"),
        ({"path": "/ä"}, "path", "percent-encoded"),
        ({"strip_path": True}, "strip_path", "no path to strip"),
        ({"host": "http://x"}, "host", "leave scheme and path out"),
        ({"host": "a b"}, "host", "no host"),
        ({"kind": "imgae"}, "kind", "did you mean 'image'?"),
        ({"task": "chatt"}, "task", "did you mean 'chat'?"),
        ({"model": ""}, "model", "empty"),
        ({"concurrency": 0}, "concurrency", "between 1"),
        ({"max_in_flight": -1}, "max_in_flight", "between 0"),
        ({"gpus": []}, "gpus", "auto"),
        ({"gpus": [0, 0]}, 1, "twice"),
        ({"gpus": [-1]}, 0, "names nothing"),
        ({"models": [""]}, 0, "names nothing"),
        ({"url": []}, "url", "each replica"),
        ({"url": [URL, "host:1"]}, 1, "no upstream URL"),
        ({"url": [URL, f"{URL}/"]}, 1, "same server"),
        ({"url": [URL, "https://h"]}, "url", "mixes"),
        ({"url": [f"http://h:{port}" for port in range(1, 66)]}, "url", "at most 64"),
        ({"affinity": "prefix"}, "affinity", "header:NAME"),
        ({"affinity": "header:a b"}, "affinity", "header:NAME"),
    ],
)
def test_one_slip_gives_one_problem(upstream: dict[str, Any], key: str, what: str) -> None:
    """Each wrong value is named at its place with the remedy."""
    (problem,) = problems_of(upstream)
    assert problem.path[-1] == key
    assert what in problem.what


@pytest.mark.parametrize(
    "upstream",
    [
        {"path": "/image", "strip_path": True},
        {"host": "llm.example.org"},
        {"host": "llm.example.org:8080"},
        {"models": ["llama*", "gemma"]},
        {"gpus": [0, "GPU-1"]},
        {"url": "https://h"},
        {"url": "https://h", "ca_file": "/etc/ca.pem"},
    ],
)
def test_good_upstreams(upstream: dict[str, Any]) -> None:
    """What makes sense has no problem."""
    assert not problems_of(upstream)


def test_no_upstream_at_all() -> None:
    """Without an upstream there is nothing to stand in front of."""
    (problem,) = problems_of()
    assert "--upstream" in problem.what


def test_two_upstreams_must_differ() -> None:
    """Two upstreams for the same requests, or with the same name, are refused."""
    found = [problem.what for problem in problems_of({}, {})]
    assert "is already upstream[0].name" in found[0]
    assert "takes the same requests" in found[1]
    assert not problems_of({}, {"name": "b", "path": "/b"})


@pytest.mark.parametrize("key", ["address", "admin"])
def test_joulegate_is_not_its_own_upstream(key: str) -> None:
    """A request must not go round for ever."""
    (problem,) = problems_of({"url": "http://localhost:7777"}, **{key: "127.0.0.1:7777"})
    assert f"listen.{key}" in problem.what


@pytest.mark.parametrize("affinity", ["prompt", "header:X-Session-Id"])
def test_replicas_may_have_an_affinity(affinity: str) -> None:
    """A list of servers is one upstream, and each has its address."""
    replicas = [{"name": "a", "url": [URL, "http://h:2"], "affinity": affinity}]
    config, wrong = parsed({"upstream": replicas})
    assert not [*wrong, *problems(config)]
    assert addresses(config) == {"a": (("127.0.0.1", 8000), ("h", 2))}


def test_two_upstreams_with_one_model_are_told_how_to_become_replicas() -> None:
    """The second would never get it; what to write stands in the message."""
    found = problems_of(
        {"models": ["m", "n"]},
        {"name": "b", "url": "http://h:2", "models": ["m"]},
        {"name": "c", "url": "http://h:3", "models": ["m"], "path": "/c"},
    )
    assert [problem.path for problem in found] == [("upstream", 1, "models")]
    assert f'url = ["{URL}", "http://h:2"]' in found[0].what


def test_a_replica_that_is_joulegate_itself_is_refused() -> None:
    """It would call itself for every second request."""
    (found,) = problems_of({"url": [URL, "http://h:2"]}, address="h:2")
    assert "itself" in found.what
