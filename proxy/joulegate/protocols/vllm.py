"""vLLM's own routes (https://github.com/vllm-project/vllm, vllm/entrypoints).

Scores, classes and pooled vectors have OpenAI's usage; Cohere's forms have their own. A stream of
``/inference/v1/generate`` reports usage only when asked, but it is made of token ids, which are counted.
"""

import re

from msgspec.structs import replace

from joulegate.framing import Found
from joulegate.framing.values import decode, derived, fact, whole
from joulegate.model import Fact, Task, TaskFacts, WorkClass
from joulegate.observing import Listener, Members, PromptListener
from joulegate.ports import About, Headers, Observer, Route

_CHAT = Route("vllm.cohere.chat", Task.CHAT)
_EMBED = Route("vllm.cohere.embed", Task.EMBEDDINGS)
_TOKENS = Route("vllm.tokens", Task.TEXT_GENERATION)
_INFERENCE = {
    "/pooling": Route("vllm.pooling", Task.EMBEDDINGS),
    "/classify": Route("vllm.classify", Task.TEXT_CLASSIFICATION),
    "/score": Route("vllm.score", Task.RERANK),
    "/generative_scoring": Route("vllm.score", Task.RERANK),
    "/v2/embed": _EMBED,
    "/cohere/v2/chat": _CHAT,
    "/inference/v1/generate": _TOKENS,
}
_ADMIN = Route("vllm.admin", work=WorkClass.ADMIN, reads_body=False)
_LOAD = Route("vllm.load", work=WorkClass.MODEL_LOAD, reads_body=False)
_PROBE = Route("vllm.probe", work=WorkClass.PROBE, reads_body=False)
_READ = frozenset({
    "/load", "/is_sleeping", "/is_paused", "/server_info", "/tokenizer_info", "/get_world_size",
    "/weight_info", "/kv_event_sources", "/is_scaling_elastic_ep", "/fault_tolerance/status",
})  # fmt: skip
_CONTROL = frozenset({
    "/abort_requests", "/pause", "/resume", "/reset_mm_cache", "/reset_encoder_cache", "/collective_rpc",
    "/release_kv_cache_memory", "/scale_elastic_ep", "/fault_tolerance/apply",
})  # fmt: skip
_LOADS = re.compile(
    r"/(?:update_weights|(?:start|finish)_(?:draft_)?weight_update|init_weight_transfer_engine)"
)

_IDS = re.compile(rb'"token_ids"\s*:\s*(\[[^\]]*+\])')
_TEXT = re.compile(rb'"(?:text|thinking|tool_plan|arguments)"\s*:\s*"([^"\\]*+(?:\\.[^"\\]*+)*+)"', re.DOTALL)


class Plugin:
    """Knows what vLLM has beside OpenAI's and Anthropic's routes."""

    about = About(
        servers=("vLLM", "LMDeploy"),
        kinds=("vllm",),
        routes=(
            "POST /generative_scoring",
            "POST /abort_requests",
            "POST /update_weights",
            "GET /server_info",
        ),
        usage="`usage`, as OpenAI's; Cohere's: `usage.tokens`, `meta.billed_units`; `metrics` with "
        "`--enable-per-request-metrics`",
        streaming="events, then `[DONE]`",
        disconnect="stops",
    )

    def matches(self, method: str, path: str) -> Route | None:
        """Return the route, or ``None`` if vLLM has none of its own there."""
        if method == "POST":
            known = _INFERENCE.get(path)
            return known or (_ADMIN if path in _CONTROL else _LOAD if _LOADS.fullmatch(path) else None)
        return _PROBE if method == "GET" and path in _READ else None

    def observer(self, route: Route, headers: Headers) -> Observer:
        """Return a fresh listener for one exchange."""
        if route.work is not WorkClass.INFERENCE:
            return Listener(headers)
        kinds: dict[str, type[Listener]] = {_CHAT.name: VllmChat, _EMBED.name: Embed, _TOKENS.name: Tokens}
        return kinds.get(route.name, PromptListener)(headers, model=route.model)


class Embed(PromptListener):
    """``/v2/embed``: Cohere's embeddings."""

    answers = frozenset({"meta.billed_units.input_tokens"})

    def read_members(self, members: dict[str, bytes]) -> None:
        """Record the tokens read."""
        tokens = fact(whole(members.get("meta.billed_units.input_tokens")))
        if tokens:
            self.accounts.facts = replace(self.accounts.facts, prompt_tokens=tokens)


class VllmChat(Listener):
    """``/cohere/v2/chat``: events tell their type; the last one, ``message-end``, has the usage."""

    wishes = frozenset({"model", "stream", "max_tokens"})
    bounds = ("max_tokens",)
    answers = frozenset({"usage"})

    def event(self, data: bytes) -> int:
        """Accept one event."""
        if b'"usage"' in data:
            members = decode(data, Members) or {}
            inner = decode(members.get("delta") or b"null", Members) or {}
            self.read_members({"usage": bytes(inner.get("usage", b""))})
        return sum(map(len, _TEXT.findall(data)))

    def read_members(self, members: dict[str, bytes]) -> None:
        """Record Cohere's usage, whose counts are written as floats."""
        usage = decode(members.get("usage") or b"null", Members) or {}
        tokens = decode(usage.get("tokens") or b"null", dict[str, float]) or {}
        counts = {
            "prompt_tokens": tokens.get("input_tokens"),
            "completion_tokens": tokens.get("output_tokens"),
            "cached_prompt_tokens": decode(usage.get("cached_tokens") or b"null", float),
        }
        known = {
            name: told for name, value in counts.items() if value is not None and (told := _exact(value))
        }
        self.accounts.facts = replace(self.accounts.facts, **known)


class Tokens(Listener):
    """``/inference/v1/generate``: token ids in, token ids out."""

    wishes = frozenset({"model", "stream", "sampling_params.max_tokens"})
    bounds = ("sampling_params.max_tokens",)
    wish_counts = frozenset({"token_ids"})
    answers = frozenset({"model", "usage", "metrics"})
    answer_counts = frozenset({"choices"})

    def __init__(self, headers: Headers, *, model: str | None = None) -> None:
        super().__init__(headers, model=model)
        self._written = 0
        self._choices: int | None = None

    def event(self, data: bytes) -> int:
        """Accept one event: its content are the token ids."""
        if b'"usage":{' in data or b'"metrics":{' in data:
            self.account(data)
        content = 0
        for ids in _IDS.findall(data):
            content += len(ids)
            self._written += ids.count(b",") + (len(ids.strip(b"[ ]")) > 0)
        return content

    def document(self, found: Found) -> None:
        """Count the choices."""
        self._choices = found.counts.get("choices")

    def facts(self) -> TaskFacts:
        """Return the work done, counted where it was not reported."""
        facts = self.accounts.facts
        if not self.answered:
            return facts
        read = self.request_found().counts.get("token_ids")
        counted = {
            "prompt_tokens": facts.prompt_tokens or derived(read),
            "completion_tokens": facts.completion_tokens or derived(self._written or None),
            "choices": derived(self._choices),
        }
        return replace(facts, **counted)


def _exact(value: float) -> Fact | None:
    return fact(int(value)) if value == value // 1 else None
