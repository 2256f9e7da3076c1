"""The open inference protocol of KServe, Triton and MLServer."""

import struct
from collections.abc import Callable

import pytest

from joulegate.model import Asked, Fact, FactSource, Task, TaskFacts, WorkClass
from joulegate.ports import InferenceProtocol, Observer
from joulegate.units import Nanoseconds

Load = Callable[[str], InferenceProtocol]
Play = Callable[..., Observer]
STREAM = b"text/event-stream"
HEAD = b"Inference-Header-Content-Length"


@pytest.mark.parametrize(
    ("method", "path", "name", "model", "work"),
    [
        ("POST", "/v2/models/m/infer", "v2.infer", "m", WorkClass.INFERENCE),
        ("POST", "/seldon/ns/v2/models/m/versions/7/infer", "v2.infer", "m", WorkClass.INFERENCE),
        ("POST", "/v2/models/a%2Fb/infer_stream", "v2.infer_stream", "a/b", WorkClass.INFERENCE),
        ("POST", "/v2/models/m/generate", "v2.generate", "m", WorkClass.INFERENCE),
        ("POST", "/v2/models/m/versions/1/generate_stream", "v2.generate_stream", "m", WorkClass.INFERENCE),
        ("POST", "/v1/models/m:predict", "v1.predict", "m", WorkClass.INFERENCE),
        ("POST", "/v1/models/m/versions/2:predict", "v1.predict", "m", WorkClass.INFERENCE),
        ("POST", "/v1/models/m:explain", "v1.explain", "m", WorkClass.INFERENCE),
        ("POST", "/v1/timeseries/forecast", "v1.forecast", None, WorkClass.INFERENCE),
        ("POST", "/v2/repository/models/m/load", "v2.load", None, WorkClass.MODEL_LOAD),
        ("POST", "/v2/repository/models/m/unload", "v2.load", None, WorkClass.MODEL_LOAD),
        ("POST", "/v2/repository/index", "v2.admin", None, WorkClass.ADMIN),
        ("POST", "/v2/cudasharedmemory/region/r/register", "v2.admin", None, WorkClass.ADMIN),
        ("GET", "/v2", "v2.probe", None, WorkClass.PROBE),
        ("GET", "/v2/health/live", "v2.probe", None, WorkClass.PROBE),
        ("GET", "/v2/models/m/versions/1/ready", "v2.probe", None, WorkClass.PROBE),
        ("GET", "/v2/models/m/stats", "v2.probe", None, WorkClass.PROBE),
    ],
)
def test_routes(plugin: Load, method: str, path: str, name: str, model: str | None, work: WorkClass) -> None:
    """Each route has its class of work, and the model where the path names it."""
    route = plugin("kserve").matches(method, path)
    assert route
    assert (route.name, route.model, route.work) == (name, model, work)
    assert (route.task is Task.TEXT_GENERATION) == name.startswith("v2.generate")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v2/models/m/infer"),
        ("POST", "/v2/models//infer"),
        ("POST", "/v2/models/m/versions/infer"),
        ("POST", "/v1/models/m"),
        ("POST", "/v1/chat/completions"),
    ],
)
def test_other_paths_are_left_to_others(plugin: Load, method: str, path: str) -> None:
    """What is of neither version is not claimed."""
    assert plugin("kserve").matches(method, path) is None


def tensors(plugin: Load, request: bytes, answer: bytes, *fields: tuple[bytes, bytes]) -> Observer:
    chosen = plugin("kserve")
    route = chosen.matches("POST", "/v2/models/m/infer")
    assert route
    observer = chosen.observer(route, fields)
    observer.request_body(request)
    observer.response_head(200, [(b"Content-Type", b"application/json")])
    observer.response_body(Nanoseconds(0), answer)
    observer.response_end(complete=True)
    return observer


@pytest.mark.parametrize(
    ("inputs", "outputs", "batch"),
    [
        (b"[4,3]", b"[4]", 4),
        (b"[4,3]", b"[5]", None),
        (b"[]", b"[4]", None),
        (b"[0]", b"[0]", 0),
        (b"[-1]", b"[-1]", None),
        (b'"x"', b'"y"', None),
    ],
)
def test_a_batch_is_what_all_tensors_agree_on(
    plugin: Load, inputs: bytes, outputs: bytes, batch: int | None
) -> None:
    """A first dimension that one tensor does not share is no batch; nonsense is none either."""
    shape = b'{"shape":%b}'
    request = b'{"inputs":[%b,%b]}' % (shape % inputs, shape % inputs)
    observer = tensors(plugin, request, b'{"outputs":[%b]}' % (shape % outputs))
    known = None if batch is None else Fact(batch, FactSource.ESTIMATED)
    assert observer.facts() == TaskFacts(choices=known)


@pytest.mark.parametrize("size", [b"x", b"-1", b"9" * 12, b""])
def test_a_length_that_is_none_is_not_followed(plugin: Load, size: bytes) -> None:
    """The body is then read as what it looks like."""
    observer = tensors(plugin, b'{"inputs":[{"shape":[2]}]}', b'{"outputs":[{"shape":[2]}]}', (HEAD, size))
    assert observer.facts() == TaskFacts(choices=Fact(2, FactSource.ESTIMATED))


def test_tensors_behind_the_head_are_not_read(plugin: Load) -> None:
    """Triton's binary extension: raw numbers that look like JSON change nothing."""
    head = b'{"inputs":[{"name":"x","shape":[3]}]}'
    body = head + b',"inputs":[{"shape":[9]}]' + struct.pack("<3f", 1, 2, 3)
    observer = tensors(plugin, body, b'{"outputs":[{"shape":[3]}]}', (HEAD, b"%d" % len(head)))
    assert observer.facts() == TaskFacts(choices=Fact(3, FactSource.ESTIMATED))


def test_tokens_of_a_stream_are_summed(exchange: Play) -> None:
    """Triton's vLLM backend counts the new tokens of each event; an error has no content."""
    answer = (
        b'data: {"text_output":"ab","num_output_tokens":2}\n\n'
        b'data: {"text_output":"c","num_output_tokens":1}\n\n'
        b'data: {"error":"out of memory"}\n\n'
    )
    observer = exchange("/v2/models/m/generate_stream", b"{}", answer, protocol="kserve", media=STREAM)
    assert observer.facts() == TaskFacts(completion_tokens=Fact(3, FactSource.DERIVED))
    assert observer.asked() == Asked(model="m", stream=True)


@pytest.mark.parametrize(
    ("answer", "number"), [(b'{"predictions":[1]}', 1), (b"{}", 2), (b'{"predictions":[]}', 0)]
)
def test_predictions_are_counted(exchange: Play, answer: bytes, number: int) -> None:
    """Without a list of predictions there are as many as instances were asked about."""
    observer = exchange("/v1/models/m:predict", b'{"instances":[[1],[2]]}', answer, protocol="kserve")
    assert observer.facts() == TaskFacts(choices=Fact(number, FactSource.DERIVED))


def test_a_refusal_did_no_work(exchange: Play) -> None:
    """The instances of a request that failed were not worked on."""
    observer = exchange("/v1/models/m:predict", b'{"instances":[[1]]}', b"{}", protocol="kserve", status=500)
    assert observer.facts() == TaskFacts()
