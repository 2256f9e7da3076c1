"""Paths that mean different things on different servers go to the protocol of the server that is there."""

import pytest

from joulegate import plugins
from joulegate.gateway.spans.observation import choose, preferring

NAMES = sorted(plugins.names(plugins.PROTOCOLS), key=lambda name: (name == "generic", name))
PROTOCOLS = {name: plugins.build(plugins.PROTOCOLS, name) for name in NAMES}


@pytest.mark.parametrize(
    ("path", "kind", "protocol"),
    [
        ("/generate", "tgi", "tgi"),
        ("/generate", "sglang", "sglang"),
        ("/generate", "lmdeploy", "sglang"),
        ("/generate_stream", "auto", "tgi"),
        ("/classify", "vllm", "vllm"),
        ("/classify", "sglang", "sglang"),
        ("/classify", "infinity", "infinity"),
        ("/predict", "tei", "tei"),
        ("/predict", "huggingface", "huggingface"),
        ("/", "tgi", "tgi"),
        ("/vertex", "tei", "tei"),
        ("/vertex", "tgi", "tgi"),
        ("/update_weights", "vllm", "vllm"),
        ("/update_weights", "trtllm", "trtllm"),
        ("/v1/chat/completions", "ollama", "openai"),
        ("/v1/messages", "llamacpp", "anthropic"),
        ("/rerank", "tei", "openai"),
    ],
)
def test_the_kind_of_the_server_decides(path: str, kind: str, protocol: str) -> None:
    """Whatever the kind, no route is lost."""
    failed: list[str] = []
    chosen = choose(preferring(PROTOCOLS, kind), "POST", path, [], failed.append)
    assert (chosen.protocol, failed) == (protocol, [])
