"""InvokeAI's queue."""

import msgspec
import pytest
from msgspec import Raw

from joulegate.protocols.invokeai import Plugin, asked, instant


@pytest.mark.parametrize(
    ("method", "path", "route"),
    [
        ("POST", "/api/v1/queue/default/enqueue_batch", "enqueue"),
        ("GET", "/api/v1/queue/default/i/7", "item"),
        ("PUT", "/api/v1/queue/default/i/7/cancel", "item"),
        ("GET", "/api/v1/queue/default/current", "item"),
        ("DELETE", "/api/v1/queue/default/i/7", "queue"),
        ("PUT", "/api/v1/queue/default/clear", "queue"),
        ("GET", "/api/v1/images", None),
    ],
)
def test_its_routes_are_known(method: str, path: str, route: str | None) -> None:
    """By method and path; the rest of the interface is not the queue's."""
    found = Plugin().matches(method, path)
    assert (found and found.name) == route


def test_an_item_has_an_address_of_its_own() -> None:
    """In the queue that took its batch."""
    address = Plugin().inquiries("/api/v1/queue/work/enqueue_batch", "work:41")
    assert address == ("/api/v1/queue/work/i/41",)


@pytest.mark.parametrize(
    ("text", "ns"),
    [
        ("1970-01-01 00:00:01.500", None),
        ("2026-09-21 13:33:21.250", 1_789_997_601_250_000_000),
        ("2026-09-21T15:33:21.250+02:00", 1_789_997_601_250_000_000),
        ("yesterday", None),
        (None, None),
    ],
)
def test_times_are_read_as_they_are_written(text: str | None, ns: int | None) -> None:
    """With and without a zone."""
    assert instant(text) == ns


def test_two_passes_of_a_graph_add_their_steps() -> None:
    """The larger size is the image's; Flux says ``num_steps``."""
    graph = {
        "a": {"type": "noise", "width": 512, "height": 512},
        "b": {"type": "noise", "width": 1024, "height": 1024},
        "c": {"type": "denoise_latents", "steps": 20},
        "d": {"type": "flux_denoise", "num_steps": 4, "model": {"name": "flux"}},
    }
    nodes = {
        name: {key: Raw(msgspec.json.encode(value)) for key, value in node.items()}
        for name, node in graph.items()
    }
    found = asked(nodes)
    assert (found.model, found.width, found.height, found.steps) == ("flux", 1024, 1024, 24)
