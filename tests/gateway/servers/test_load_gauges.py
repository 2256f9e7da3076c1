"""How many requests a server works on, read from its own words."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulegate.gateway.http.call import ServerAnswer
from joulegate.gateway.servers.load_gauges import gauge
from joulegate.model import ServerKind

VLLM = b"""# HELP vllm:num_requests_running Number of requests in model execution batches.
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="m"} 2.0
vllm:num_requests_running{engine="1",model_name="m"} 1.0
vllm:num_requests_waiting{engine="0",model_name="m"} 4.0
vllm:num_requests_running_total 9
"""


def read(kind: str, body: bytes, status: int = 200) -> int | None:
    found = gauge(kind)
    assert found
    return found[1](ServerAnswer(status, {}, body))


@pytest.mark.parametrize(
    ("kind", "body", "running"),
    [
        ("llamacpp", json.dumps([{"id": 0, "is_processing": True}, {"id": 1, "is_processing": False}]), 1),
        ("llamacpp", "[]", 0),
        ("llamacpp", '{"error":{"code":501}}', None),
        ("vllm", VLLM.decode(), 7),
        ("vllm", "vllm:num_requests_running 0", 0),
        ("vllm", "vllm:num_requests_waiting 3", None),
        ("vllm", "vllm:num_requests_running 1e300", None),
        ("vllm", "vllm:num_requests_running NaN\nvllm:num_requests_running 2e0", 2),
        ("vllm", "# vllm:num_requests_running 3\nxvllm:num_requests_running 3", None),
        ("tgi", "tgi_batch_current_size 3\ntgi_queue_size 1\n", 4),
        ("sglang", '[{"dp_rank":0,"num_reqs":2},{"dp_rank":1,"num_reqs":1}]', 3),
        ("sglang", '{"num_reqs":2}', 2),
        ("sglang", "[]", None),
        ("a1111", '{"state":{"job_count":2,"job":"scripts_txt2img"}}', 1),
        ("a1111", '{"state":{"job_count":0}}', 0),
        ("a1111", '{"detail":"x"}', None),
        ("koboldcpp", '{"idle":0,"queue":0}', 1),
        ("koboldcpp", '{"idle":1,"queue":0}', 0),
        ("koboldcpp", '{"idle":0,"queue":3}', 3),
    ],
)
def test_gauges_are_read(kind: str, body: str, running: int | None) -> None:
    """Running and waiting requests together; a page without the figure is not 0."""
    assert read(kind, body.encode()) == running


@pytest.mark.parametrize("kind", ServerKind)
@given(
    body=st.binary(max_size=100) | st.sampled_from([b"null", b"[1]", b'{"state":3}', b'[{"num_reqs":"x"}]'])
)
def test_garbage_is_no_figure(kind: str, body: bytes) -> None:
    """Whatever a server answers, reading raises nothing, and an error page is no figure."""
    if gauge(kind):
        read(kind, body)
        assert read(kind, body, 404) is None


def test_servers_without_a_gauge_are_not_asked() -> None:
    """Ollama says nothing of its requests, and TensorRT-LLM's page is emptied by a look."""
    assert [gauge(kind) for kind in ("auto", "llm", "ollama", "trtllm", "triton")] == [None] * 5
