"""Which upstream takes a request."""

from typing import Any

import pytest

from joulegate.config import UpstreamConfig
from joulegate.config.addresses import Endpoint
from joulegate.gateway.policy.routing import Routes, below, canonical, host_name, upstream_target


def rule(name: str, **rules: Any) -> UpstreamConfig:
    return UpstreamConfig(name, (Endpoint("http", "127.0.0.1", 1),), **rules)


def chosen(
    targets: list[UpstreamConfig], path: str, *, host: str = "h", model: str | None = None
) -> str | None:
    routes = Routes(targets)
    target = routes.choose(routes.candidates(path, host), model)
    return target.name if target else None


IMAGE, LONG, REST = rule("image", path="/image"), rule("long", path="/image/big"), rule("rest")
HOST, BOTH = rule("host", host="gpu.example"), rule("both", host="gpu.example", path="/image")
LLAMA, GLOB = rule("llama", models=("llama-8b", "gpt-*")), rule("glob", models=("llama-*", "a[b]?"))


@pytest.mark.parametrize(
    ("path", "host", "model", "expected"),
    [
        ("/image", "h", None, "image"),
        ("/image/x", "h", None, "image"),
        ("/imagex", "h", None, "rest"),
        ("/image/big/1", "h", None, "long"),
        ("/image/bigger", "h", None, "image"),
        ("/", "gpu.example", None, "host"),
        ("/image", "gpu.example", None, "both"),
        ("/v1", "h", "llama-8b", "llama"),
        ("/v1", "h", "llama-70b", "glob"),
        ("/v1", "h", "gpt-4", "llama"),
        ("/v1", "h", "a[b]?", "glob"),
        ("/v1", "h", "ab?", "rest"),
        ("/v1", "h", "other", "rest"),
        ("/v1", "h", None, "rest"),
        ("/image", "h", "llama-8b", "image"),
        ("/%69mage", "h", None, "rest"),
        ("/./image", "h", None, "rest"),
    ],
)
def test_path_and_host_decide_before_the_model(
    path: str, host: str, model: str | None, expected: str
) -> None:
    """The longest path wins on a boundary of the raw path, then the host, then the model."""
    targets = [IMAGE, LONG, HOST, BOTH, GLOB, LLAMA, REST]
    assert chosen(targets, path, host=host, model=model) == expected


@pytest.mark.parametrize(
    ("path", "known"),
    [
        ("//v1/chat", "/v1/chat"),
        ("/v1///chat//", "/v1/chat/"),
        ("/v1/chat", "/v1/chat"),
        ("/a%2F/b", "/a%2F/b"),
    ],
)
def test_several_slashes_are_one(path: str, known: str) -> None:
    """A route is known however its slashes are written; what is escaped is no slash."""
    assert canonical(path) == known


def test_models_decide_among_upstreams_of_one_path() -> None:
    """Two upstreams may share a path and divide its models."""
    targets = [
        rule("a", path="/llm", models=("a",)),
        rule("b", path="/llm"),
        rule("c", path="/llm", models=("c*",)),
    ]
    assert [chosen(targets, "/llm/v1", model=model) for model in ("a", "c1", "x", None)] == [
        "a",
        "c",
        "b",
        "b",
    ]


def test_what_no_rule_takes_goes_nowhere() -> None:
    """Without an upstream for the rest, the answer names what was asked and the rules."""
    targets = [IMAGE, rule("llm", models=("a",))]
    assert chosen(targets, "/x", model="b") is None
    explanation = Routes(targets).explain("/x", "h", "b")
    assert all(word in explanation for word in ("'/x'", "'b'", "image (path /image)", "llm (models a)"))


def test_the_only_upstream_takes_everything() -> None:
    """With one upstream there is nothing to choose, whatever its rules."""
    assert chosen([IMAGE], "/else") == "image"
    assert chosen([LLAMA], "/else", model="x") == "llama"


def test_a_model_is_needed_only_where_it_decides() -> None:
    """A request is not held up for a name that changes nothing."""
    routes = Routes([IMAGE, LLAMA, REST])
    assert not routes.needs_model(routes.candidates("/image", "h"))
    assert routes.needs_model(routes.candidates("/v1", "h"))
    only = Routes([LLAMA])
    assert not only.needs_model(only.candidates("/v1", "h"))


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("/image/v1/x?q=%20", "/v1/x?q=%20"),
        ("/image", "/"),
        ("/image?", "/?"),
        ("/image?a=/image", "/?a=/image"),
        ("/image//x/../y", "//x/../y"),
        ("/imagex", "/imagex"),
    ],
)
def test_a_prefix_is_stripped_and_nothing_else_changes(raw: str, expected: str) -> None:
    """The rest of the target stays as it is, with its query and its odd slashes."""
    assert upstream_target(rule("i", path="/image", strip_path=True), raw) == expected
    assert upstream_target(rule("i", path="/image"), raw) == raw


def test_hosts_are_compared_without_port_and_case() -> None:
    """``Host`` may carry a port; names have no case."""
    assert [host_name(text) for text in ("A.B:80", "a.b", "[::1]:80", "[::1]")] == [
        "a.b",
        "a.b",
        "[::1]",
        "[::1]",
    ]
    assert chosen([HOST, REST], "/", host=host_name("GPU.example:8080")) == "host"
    assert below("/a", "/a")
    assert not below("/ab", "/a")
