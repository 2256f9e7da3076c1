"""The door that SageMaker and Vertex AI give every server: ``POST /invocations`` and ``GET /ping``.

Source: https://docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-inference-code.html. What goes through
it is the server's own: OpenAI's forms on vLLM and SGLang, ``inputs`` and ``parameters`` on TGI, ``instances``
on Vertex AI, any form on others. All of them are read here. On Vertex AI the path is the container's own
(``AIP_PREDICT_ROUTE``): ``[[route]] like = "/invocations"`` names it.
"""

import re
from urllib.parse import unquote

from msgspec.structs import replace

from joulegate.framing import Found, JsonPeek
from joulegate.framing.values import derived, fact, flag, whole
from joulegate.model import Asked, TaskFacts, WorkClass
from joulegate.observing import Listener
from joulegate.ports import About, Headers, Observer, Rewrite, Route
from joulegate.usage_injection import ask_for_usage

_INVOKE = Route("invocations")
_PING = Route("ping", work=WorkClass.PROBE, reads_body=False, dialect="plain")
_MODEL = re.compile(r"/models/(?P<model>[^/]+)/invoke")
_REPORTED = {
    "prompt_tokens": ("meta_info.prompt_tokens", "details.input_length"),
    "cached_prompt_tokens": ("meta_info.cached_tokens",),
    "completion_tokens": (
        "meta_info.completion_tokens", "details.generated_tokens", "0.details.generated_tokens",
    ),
}  # fmt: skip
"""Where SGLang and TGI have their counts; TGI's ``/invocations`` answers with a list of one."""
_ITEMS = ("inputs", "input", "instances")
_ANSWERS = ("choices", "data", "predictions")
_OPENAI = re.compile(rb'"(?:messages|prompt)"\s*:')
_NOTABLE = (b'"usage"', b'"timings"', b'"metrics"', b'"details":{', b'"meta_info"')
_TEXT = re.compile(
    rb'"(?:content|text|reasoning_content|reasoning|arguments|refusal|delta)"\s*:\s*"([^"\\]*+(?:\\.[^"\\]*+)*+)"',
    re.DOTALL,
)


class Plugin:
    """Knows the two paths of every container, and those of a container with several models."""

    about = About(
        servers=("SageMaker containers of vLLM, SGLang, TGI and others", "Vertex AI containers"),
        routes=("POST /models/m/invoke",),
        usage="`usage`; `details.generated_tokens`; `meta_info`; else results and inputs are counted",
        streaming="the server's own: server-sent events of OpenAI's, TGI's or SGLang's form",
        disconnect="as the server behind it",
    )

    def matches(self, method: str, path: str) -> Route | None:
        """Return the route, or ``None`` if no container has one there."""
        if method == "GET":
            return _PING if path == "/ping" else None
        if method != "POST":
            return None
        named = _MODEL.fullmatch(path)
        if named:
            return replace(_INVOKE, model=unquote(named["model"]))
        return _INVOKE if path == "/invocations" else None

    def observer(self, route: Route, headers: Headers) -> Observer:
        """Return a fresh listener for one exchange."""
        return Invocation(headers, model=route.model)


class Invocation(Listener):
    """Listens to one invocation, whichever form it has."""

    bounds = (
        "max_completion_tokens", "max_tokens", "parameters.max_new_tokens", "sampling_params.max_new_tokens",
    )  # fmt: skip
    wishes = frozenset({"model", "stream", "parameters.stream", *bounds})
    wish_counts = frozenset(_ITEMS)
    answers = Listener.answers | {path for paths in _REPORTED.values() for path in paths}
    answer_counts = frozenset(_ANSWERS)

    def __init__(self, headers: Headers, *, model: str | None = None) -> None:
        super().__init__(headers, model=model)
        self._results: int | None = None

    def wish(self, found: Found) -> Asked:
        """Return model, stream, which may be a parameter, and the bound of the answer."""
        asked = super().wish(found)
        if asked.stream is not None:
            return asked
        return replace(asked, stream=flag(found.members.get("parameters.stream")))

    def rewrite(self, body: bytes) -> Rewrite | None:
        """Ask a stream of OpenAI's form for usage where the client did not."""
        return ask_for_usage(body) if _OPENAI.search(body) else None

    def event(self, data: bytes) -> int:
        """Accept one event of any of the forms; counts are those so far, so the last ones stay."""
        if any(mark in data for mark in _NOTABLE):
            peek = JsonPeek(self.answers)
            peek.feed(data)
            self.long_event(peek.found())
        return sum(map(len, _TEXT.findall(data)))

    def long_event(self, found: Found) -> None:
        """Accept the counts of any of the forms."""
        self.read_members(found.members)
        self._count(found.members)

    def document(self, found: Found) -> None:
        """Accept a whole answer of any of the forms."""
        self._count(found.members)
        self._results = next((found.counts[name] for name in _ANSWERS if name in found.counts), None)

    def facts(self) -> TaskFacts:
        """Return what the server reported, and the results: those of the answer, else one for each input."""
        results = self._results
        if results is None and self.answered and not self.streamed():
            counts = self.request_found().counts
            results = next((counts[name] for name in _ITEMS if name in counts), None)
        return replace(self.accounts.facts, choices=derived(results))

    def _count(self, members: dict[str, bytes]) -> None:
        found = {name: fact(_first(members, paths)) for name, paths in _REPORTED.items()}
        known = {name: value for name, value in found.items() if value}
        self.accounts.facts = replace(self.accounts.facts, **known)


def _first(members: dict[str, bytes], paths: tuple[str, ...]) -> int | None:
    return next((whole(members[path]) for path in paths if path in members), None)
