"""KServe's open inference protocol, version 2 with Triton's and MLServer's additions, and version 1.

Sources: https://github.com/kserve/open-inference-protocol; Triton's extensions for binary tensors and for
``generate`` (docs/protocol of https://github.com/triton-inference-server/server), MLServer's ``infer_stream``
(https://docs.seldon.ai/mlserver/user-guide/streaming); version 1 from
https://kserve.github.io/website/docs/concepts/architecture/data-plane/v1-protocol.

Tensors are never read. With Triton's binary extension the JSON is only the head of a body: its length stands
in ``Inference-Header-Content-Length``, and the raw tensors behind it are passed over. No server says how many
items a batch had; the first dimension, where all tensors of request and answer share it, is the estimate.
"""

import re
from typing import Any, ClassVar
from urllib.parse import unquote

from msgspec.structs import replace

from joulegate.framing import Found, HeadPeek, Peek
from joulegate.framing.values import count, decode, whole, word
from joulegate.model import Asked, Fact, FactSource, Task, TaskFacts, WorkClass
from joulegate.observing import Listener, header
from joulegate.ports import About, Headers, Observer, Route

_HEAD = b"inference-header-content-length"
_TENSORS = 8
"""Tensors of one body whose shapes are looked at."""
_STRING = rb'"([^"\\]*+(?:\\.[^"\\]*+)*+)"'
_TEXT = re.compile(rb'"text_output"\s*:\s*' + _STRING, re.DOTALL)
_TOKENS = re.compile(rb'"num_output_tokens"\s*:\s*(\d{1,10})[,}\s]')
"""Of one event: Triton's vLLM backend counts the tokens that are new since the last event
(docs/additional_outputs.md of https://github.com/triton-inference-server/vllm_backend)."""

_MODEL = r"(?:/[^/]+)*?/v2/models/(?P<model>[^/]+)(?:/versions/[^/]+)?"
_V2 = re.compile(_MODEL + r"/(?P<verb>infer|infer_stream|generate|generate_stream)")
_V1 = re.compile(r"(?:/[^/]+)*?/v1/models/(?P<model>[^/:]+):(?P<verb>predict|explain)")
_V1_VERSION = re.compile(r"(?:/[^/]+)*?/v1/models/(?P<model>[^/:]+)/versions/[^/:]+:(?P<verb>predict)")
_LOAD = re.compile(r"(?:/[^/]+)*?/v2/repository/models/[^/]+/(?:load|unload)")
_CONTROL = re.compile(
    r"(?:/[^/]+)*?/v2/(?:repository/index|logging|trace/setting"
    r"|(?:system|cuda)sharedmemory(?:/region/[^/]+)?/(?:register|unregister|status)"
    r"|models/[^/]+(?:/versions/[^/]+)?/trace/setting)"
)
_READ = re.compile(
    r"(?:/[^/]+)*?/v2(?:/|/health/(?:live|ready)|/models/stats|"
    r"/models/[^/]+(?:/versions/[^/]+)?(?:/ready|/config|/stats)?)?"
)

_ROUTES = {
    "infer": Route("v2.infer", dialect="triton"),
    "infer_stream": Route("v2.infer_stream", dialect="triton"),
    "generate": Route("v2.generate", Task.TEXT_GENERATION, dialect="triton"),
    "generate_stream": Route("v2.generate_stream", Task.TEXT_GENERATION, dialect="triton"),
    "predict": Route("v1.predict", dialect="triton"),
    "explain": Route("v1.explain", dialect="triton"),
}
_FORECAST = Route("v1.forecast", dialect="triton")
_MODEL_LOAD = Route("v2.load", work=WorkClass.MODEL_LOAD, reads_body=False, dialect="triton")
_ADMIN = Route("v2.admin", work=WorkClass.ADMIN, reads_body=False, dialect="triton")
_PROBE = Route("v2.probe", work=WorkClass.PROBE, reads_body=False, dialect="triton")


class Plugin:
    """Knows both versions of the protocol, behind any prefix."""

    about = About(
        servers=("Triton Inference Server 2.x", "KServe 0.21", "MLServer 1.7.1", "TorchServe 0.12"),
        kinds=("triton", "kserve"),
        routes=(
            "POST /v2/models/m/versions/1/generate", "POST /v1/models/m:explain",
            "POST /v1/timeseries/forecast", "POST /v2/repository/models/m/load", "POST /v2/repository/index",
            "GET /v2/models/m/ready",
        ),
        usage="none; the batch is the first dimension of all tensors, or the length of `instances`; "
        "`num_output_tokens` of Triton's vLLM backend",
        streaming="server-sent events without a terminator; an error is an event after status 200",
        disconnect="Triton is taken to go on: cancelling is documented for gRPC and C only",
    )  # fmt: skip

    def matches(self, method: str, path: str) -> Route | None:
        """Return the route, or ``None`` if the path is of neither version."""
        if method == "POST":
            found = _V2.fullmatch(path) or _V1.fullmatch(path) or _V1_VERSION.fullmatch(path)
            if found:
                return replace(_ROUTES[found["verb"]], model=unquote(found["model"]))
            return _control(path)
        return _PROBE if method == "GET" and _READ.fullmatch(path) else None

    def observer(self, route: Route, headers: Headers) -> Observer:
        """Return a fresh listener for one exchange."""
        return _LISTENERS.get(route.name, Instances)(headers, model=route.model)


def _control(path: str) -> Route | None:
    if path.endswith("/v1/timeseries/forecast"):
        return _FORECAST
    if _LOAD.fullmatch(path):
        return _MODEL_LOAD
    return _ADMIN if _CONTROL.fullmatch(path) else None


class Tensors(Listener):
    """``infer``: tensors in, tensors out."""

    wishes = frozenset({"model"} | {f"inputs.{at}.shape" for at in range(_TENSORS)})
    answers = frozenset({"model_name"} | {f"outputs.{at}.shape" for at in range(_TENSORS)})
    streams: ClassVar[bool | None] = None

    def __init__(self, headers: Headers, *, model: str | None = None) -> None:
        super().__init__(headers, model=model)
        self._outputs: list[int | None] = []

    def request_peek(self, headers: Headers) -> Peek | None:
        """Read only the head of a body with binary tensors."""
        return _head(headers, self.wishes) or super().request_peek(headers)

    def answer_peek(self, media: bytes, headers: Headers) -> Peek | None:
        """Read only the head of an answer with binary tensors, which says that it is no JSON."""
        return _head(headers, self.answers) or super().answer_peek(media, headers)

    def wish(self, found: Found) -> Asked:
        """Return nothing but the stream: the rest is the model's own matter."""
        del found
        return Asked(stream=self.streams)

    def event(self, data: bytes) -> int:
        """Accept one answer of a stream."""
        members = decode(data, dict[str, Any]) if not self.answer_model else None
        name = members.get("model_name") if members else None
        self.answer_model = name if isinstance(name, str) else self.answer_model
        return len(data)

    def document(self, found: Found) -> None:
        """Record the model and the first dimensions of the output tensors."""
        self.answer_model = word(found.members.get("model_name"))
        self._outputs = _batches(found, "outputs")

    def facts(self) -> TaskFacts:
        """Return the batch, if all tensors agree on it."""
        batches = [*_batches(self.request_found(), "inputs"), *self._outputs]
        batch = batches[0] if self.answered and len(set(batches)) == 1 else None
        return TaskFacts() if batch is None else TaskFacts(choices=Fact(batch, FactSource.ESTIMATED))


class TensorStream(Tensors):
    """``infer_stream``: each event is an answer of its own."""

    streams = True


class Generate(Listener):
    """``generate``: a text in, a text out. On MLServer it is ``infer`` by another name."""

    wishes = frozenset({"stream", "max_tokens", "parameters.max_tokens", "parameters.stream"})
    bounds = ("max_tokens", "parameters.max_tokens")
    answers = frozenset({"model_name", "num_output_tokens"})
    streams: ClassVar[bool | None] = None

    def __init__(self, headers: Headers, *, model: str | None = None) -> None:
        super().__init__(headers, model=model)
        self._tokens: int | None = None

    def wish(self, found: Found) -> Asked:
        """Return the bound of the answer: an input of the model, or one of its parameters."""
        return replace(super().wish(found), stream=self.streams)

    def event(self, data: bytes) -> int:
        """Accept one part of the text, or an answer of MLServer's."""
        if data.startswith(b'{"error"'):
            return 0
        tokens = _TOKENS.search(data) if b'"num_output_tokens"' in data else None
        if tokens:
            self._tokens = count((self._tokens or 0) + int(tokens[1]))
        text = _TEXT.search(data)
        return len(text[1]) if text else len(data)

    def document(self, found: Found) -> None:
        """Record the model and the tokens, where the model gives them."""
        self.answer_model = word(found.members.get("model_name"))
        self._tokens = whole(found.members.get("num_output_tokens"))

    def facts(self) -> TaskFacts:
        """Return the tokens written; those of a stream are the sum of its parts."""
        if self._tokens is None:
            return TaskFacts()
        source = FactSource.DERIVED if self.streamed() else FactSource.REPORTED
        return TaskFacts(completion_tokens=Fact(self._tokens, source))


class GenerateStream(Generate):
    """``generate_stream``: the text in parts."""

    streams = True


class Instances(Listener):
    """Version 1: a list of instances in, a list of predictions out, bare or in a CloudEvent."""

    wishes = frozenset({"stream"})
    wish_counts = frozenset({"instances", "data.instances"})
    answers = frozenset({"model_name"})
    answer_counts = frozenset({"predictions", "data.predictions"})

    def __init__(self, headers: Headers, *, model: str | None = None) -> None:
        super().__init__(headers, model=model)
        self._answers: int | None = None

    def document(self, found: Found) -> None:
        """Count the predictions."""
        self._answers = found.counts.get("predictions", found.counts.get("data.predictions"))

    def facts(self) -> TaskFacts:
        """Return the predictions, else the instances that were asked about."""
        counts = self.request_found().counts if self.answered else {}
        asked = counts.get("instances", counts.get("data.instances"))
        number = asked if self._answers is None else self._answers
        return TaskFacts() if number is None else TaskFacts(choices=Fact(number, FactSource.DERIVED))


_LISTENERS: dict[str, type[Listener]] = {
    "v2.infer": Tensors,
    "v2.infer_stream": TensorStream,
    "v2.generate": Generate,
    "v2.generate_stream": GenerateStream,
}


def _head(headers: Headers, wanted: frozenset[str]) -> Peek | None:
    size = header(headers, _HEAD)
    return HeadPeek(int(size), wanted) if size.isdigit() and len(size) < 10 else None


def _batches(found: Found, tensors: str) -> list[int | None]:
    """Return the first dimension of each tensor; one without any has no batch."""
    shapes = [found.members.get(f"{tensors}.{at}.shape") for at in range(_TENSORS)]
    dimensions = [decode(shape, list[int]) for shape in shapes if shape is not None]
    return [count(shape[0]) if shape else None for shape in dimensions]
