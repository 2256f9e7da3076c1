"""Rules for routes must make sense."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from joulegate.config import PlacesConfig, RouteConfig
from joulegate.config.load import load
from joulegate.errors import ConfigError

Refusal = Callable[[str], list[str]]
HEAD = '[[upstream]]\nname = "a"\nurl = "http://127.0.0.1:8000"\n'
ROUTE = '[[route]]\npath = "/caption"\n'


@pytest.mark.parametrize(
    ("section", "line", "what"),
    [
        ('[[route]]\nmethod = "POST"', 4, "route[0]: the key 'path' is missing"),
        ('[[route]]\npath = "caption"', 5, "route[0].path: 'caption' is no path: begin with a slash"),
        ('[[route]]\npath = "/{name}"', 5, "route[0].path: '{name}' is not known in a path"),
        (ROUTE + 'method = "post"', 6, "route[0].method: 'post' is no method"),
        (ROUTE + 'task = "captioning"', 6, "route[0].task: 'captioning' is not known (did you mean"),
        (ROUTE + 'work = "training"', 6, "route[0].work: 'training' is not one of"),
        (ROUTE + 'upstream = "b"', 6, "route[0].upstream: 'b' is not known"),
        (ROUTE + 'like = "invocations"', 6, "route[0].like: 'invocations' is no path"),
        (ROUTE + 'like = "/v1/*"', 6, "route[0].like: '/v1/*' is no path"),
        (
            ROUTE + 'like = "/a"\nanswer = { images = "/b" }',
            6,
            "route[0].like: and places exclude each other",
        ),
        (
            ROUTE + '[route.answer]\nmodel = "/m"\nimages = "data.images"',
            8,
            "route[0].answer.images: 'data.images' is no JSON pointer: write '/data/images' (RFC 6901)",
        ),
        (
            ROUTE + '[route.request]\nwith = "/w"',
            7,
            "route[0].request.with: unknown key (did you mean 'width'?)",
        ),
        (ROUTE + ROUTE, 7, "route[1].path: is already route[0].path, which is asked first"),
    ],
)
def test_one_slip_gives_one_line(section: str, line: int, what: str, refusal: Refusal) -> None:
    """Each wrong value is told with its file, its line and its key, and what to write instead."""
    (told,) = refusal(HEAD + section)
    assert told.startswith(f"joulegate.toml:{line}: {what}")


def test_a_dialect_is_the_name_of_a_plugin(written: Callable[[str], Path]) -> None:
    """Protocols and servers lend their names; a slip is told with the name that is near."""
    plugins = {"protocols": ["anthropic"], "servers": ["triton"]}
    for name in ("anthropic", "triton", "plain"):
        assert load(written(HEAD + ROUTE + f'dialect = "{name}"'), plugins=plugins).route
    wanted = r"joulegate.toml:6: route\[0\].dialect: 'tritn' is not known \(did you mean 'triton'\?\)"
    with pytest.raises(ConfigError, match=wanted):
        load(written(HEAD + ROUTE + 'dialect = "tritn"'), plugins=plugins)


def test_the_examples_of_the_documentation_are_accepted(root: Path, written: Callable[[str], Path]) -> None:
    """Whoever copies them gets what they say."""
    page = (root / "docs" / "routes.md").read_text()
    examples = re.findall(r"```toml\n(.*?)```", page, re.DOTALL)
    assert len(load(written(HEAD.replace('"a"', '"image"') + "\n".join(examples))).route) >= len(examples)


def test_good_rules_are_accepted(written: Callable[[str], Path]) -> None:
    """A route with its places, one that is like another, and the same path on two upstreams."""
    text = (
        HEAD + ROUTE + 'upstream = "a"\ntask = "image-captioning"\n'
        '[route.request]\nmodel = "/network"\n[route.answer]\nchoices = ""\n'
        + ROUTE
        + 'like = "/invocations"\n'
    )
    first, second = load(written(text)).route
    assert (first.request, first.answer) == (PlacesConfig(model="/network"), PlacesConfig(choices=""))
    assert second == RouteConfig(path="/caption", like="/invocations")
