"""docs/protocols.md says what the plug-ins and their recordings say."""

from pathlib import Path

import pytest

from joulegate import plugins
from joulegate.ports import About, Headers, Observer, Route, about
from joulegate.testing.protocol_page import every, page, routes

FOLDER = Path(__file__).parent / "recordings"


def test_the_page_is_current() -> None:
    """docs/protocols.md says what the plug-ins and their recordings say; ``make docs`` writes it."""
    document = Path(__file__).parents[2] / "docs" / "protocols.md"
    command = "python -m joulegate.testing.protocol_page tests/protocols/recordings docs/protocols.md"
    assert document.read_text(encoding="utf-8") == page(FOLDER, every()), command


@pytest.mark.parametrize("name", plugins.names(plugins.PROTOCOLS))
def test_every_protocol_says_what_it_is(name: str) -> None:
    """No plug-in of joulegate's own leaves people without its servers and its usage."""
    said = about(every()[name])
    assert said.servers
    assert said.usage


class Small:
    """A protocol with one route that no recording shows."""

    about = About(
        servers=("Small 1.0",), routes=("POST /small",), usage="`n`|`m`", streaming="lines", jobs="none",
        disconnect="stops",
    )  # fmt: skip

    def matches(self, method: str, path: str) -> Route | None:
        return Route("small") if (method, path) == ("POST", "/small") else None

    def observer(self, route: Route, headers: Headers) -> Observer:
        raise NotImplementedError


class Boasts(Small):
    """Names a route that it does not know."""

    about = About(routes=("GET /small",))


def test_a_protocol_is_told_from_its_own_words(tmp_path: Path) -> None:
    """What a plug-in says of itself stands in the table, its routes below; a bar stays in its cell."""
    told = page(tmp_path, {"small": Small()})
    assert "| [small](#small) | Small 1.0 | unknown | `n`\\|`m` | lines | none | stops | - |" in told
    assert "| `POST /small` | small | unknown |" in told


def test_a_route_that_is_none_is_refused(tmp_path: Path) -> None:
    """The page promises no route that the protocol does not know."""
    with pytest.raises(AssertionError, match="GET /small is said to be a route and is none"):
        routes(Boasts(), [])
