"""The example of ``docs/plugins.md`` works and keeps the contract."""

import json
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest

from joulegate.model import Asked, Fact, ServerTimings, TaskFacts
from joulegate.ports import InferenceProtocol
from joulegate.testing import conformance

WHOLE = b'{"captions":["a cat"],"tokens":12,"took_ms":40}'
LINES = b'{"caption":"a"}\n{"caption":"cat"}\n{"tokens":2}\n'


@pytest.fixture
def example(root: Path) -> InferenceProtocol:
    """The plug-in of the example file."""
    spec = spec_from_file_location("plugin_protocol", root / "examples" / "plugin_protocol.py")
    assert spec
    assert spec.loader
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    plugin: InferenceProtocol = module.Plugin()
    return plugin


@pytest.mark.parametrize(
    ("media", "answer", "wanted"),
    [
        ("application/json", WHOLE, (12, 40_000_000, len(WHOLE))),
        ("application/x-ndjson", LINES, (2, None, 32)),
    ],
)
def test_the_example_counts(
    example: InferenceProtocol, tmp_path: Path, media: str, answer: bytes, wanted: tuple[int, int | None, int]
) -> None:
    """Tokens, time and content of whole and streamed answers, cut anywhere."""
    tokens, took, content = wanted
    folder = tmp_path / "example" / "case"
    folder.mkdir(parents=True)
    exchange = {
        "origin": "written for this test", "method": "POST", "path": "/caption", "headers": [],
        "body": '{"network":"blip"}', "status": 200, "response_headers": [["Content-Type", media]],
    }  # fmt: skip
    (folder / "request.json").write_text(json.dumps(exchange))
    (folder / "response.bin").write_bytes(answer)
    [recording] = conformance.recordings(tmp_path / "example")
    told = conformance.observe(example, recording)
    assert told.asked == Asked(model="blip")
    assert told.facts == TaskFacts(completion_tokens=Fact(tokens))
    assert told.timings == ServerTimings(decode=took)  # type: ignore[arg-type]  # plain numbers here
    assert told.content_bytes == content
    for size in (1, 3, 7):
        pieces = conformance.pieces(answer, range(0, len(answer), size))
        assert conformance.observe(example, recording, response=pieces) == told
