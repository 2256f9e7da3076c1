"""From the usage that OpenAI-compatible servers and Anthropic's report to facts.

Several protocols carry these forms: the OpenAI routes themselves, and servers that add them to their own. The
normal form: prompt tokens include cached ones, completion tokens include reasoning and all choices, a
reported zero is a value, counts that cannot be true are unknown.
"""

from collections.abc import Mapping
from operator import attrgetter
from typing import Any

from msgspec import Raw, Struct, convert
from msgspec.structs import replace

from joulegate.framing import heads
from joulegate.framing.values import CEILING, count, fact, members, milliseconds, seconds
from joulegate.model import Fact, FactSource, ServerTimings, TaskFacts


class _Details(Struct, frozen=True):
    cached_tokens: Any = None
    cache_write_tokens: Any = None
    created_cache_tokens: Any = None  # vLLM's name
    reasoning_tokens: Any = None


_NO_DETAILS = _Details()


class _Usage(Struct):
    """https://platform.openai.com/docs/api-reference/chat/object and .../responses/object."""

    prompt_tokens: Any = None
    completion_tokens: Any = None
    input_tokens: Any = None
    output_tokens: Any = None
    cache_read_input_tokens: Any = None  # Anthropic's: not in input_tokens
    cache_creation_input_tokens: Any = None
    total_tokens: Any = None
    prompt_tokens_details: Any = None
    completion_tokens_details: Any = None
    input_tokens_details: Any = None
    output_tokens_details: Any = None
    reasoning_tokens: Any = None  # SGLang has it here too
    image_count: Any = None  # SGLang diffusion
    seconds: Any = None  # transcriptions that are billed by time


class _Timings(Struct):
    """llama.cpp, tools/server/README.md: counts and milliseconds of one request."""

    cache_n: Any = None
    prompt_n: Any = None
    prompt_ms: Any = None
    predicted_n: Any = None
    predicted_ms: Any = None


class _Metrics(Struct):
    """vLLM with ``--enable-per-request-metrics``; time to first token counts from scheduling."""

    queue_time_ms: Any = None
    time_to_first_token_ms: Any = None
    generation_time_ms: Any = None


_OTHERS = tuple(
    name
    for name in _Usage.__struct_fields__
    if name not in ("prompt_tokens", "completion_tokens", "total_tokens")
)
_other_members = attrgetter(*_OTHERS)
"""Gives all that usage may say beside its usual counts."""
_NOTHING = TaskFacts()
_NO_TIMINGS = ServerTimings()


def may_tell(event: bytes) -> bool:
    """Whether an event may hold usage; ``"usage":null``, which servers put into every event, is none."""
    return b'"usage"' in event and event.count(b'"usage"') != event.count(b'"usage":null')


class UsageReader:
    """Gathers what one answer says of its own cost; what is said last counts."""

    def __init__(self) -> None:
        self.facts = _NOTHING
        self.timings = _NO_TIMINGS

    def take(self, found: Mapping[str, bytes | Raw]) -> None:
        """Accept the members ``usage``, ``timings`` and ``metrics`` of an answer or of an event."""
        self.usage(found.get("usage"))
        if "timings" in found:
            self.server_timings(found["timings"])
        if "metrics" in found:
            self.metrics(found["metrics"])

    def usage(self, raw: bytes | Raw | None) -> None:
        """Accept a raw ``usage`` object; ``null`` and nonsense change nothing."""
        usage = members(raw, _Usage) if raw else None
        if usage:
            facts = _usage_facts(usage)
            self.facts = facts if self.facts is _NOTHING else replace(self.facts, **_known(facts))

    def head(self, fields: Mapping[bytes, bytes]) -> None:
        """Accept the head of an answer, names in lower case; what the body says later counts more."""
        if heads.MARK in fields:
            self.facts, self.timings = heads.facts_of(fields), heads.timings_of(fields)

    def total_is_prompt(self, raw: bytes | Raw | None) -> None:
        """Accept a raw ``usage`` that has only a total, of work that is all in the prompt."""
        usage = members(raw, _Usage) if raw else None
        if usage and self.facts.prompt_tokens is None:
            total = fact(usage.total_tokens, FactSource.DERIVED)
            self.facts = replace(self.facts, prompt_tokens=total)

    def add_completion(self, tokens: int) -> None:
        """Add the completion tokens of another choice of the same request."""
        known = self.facts.completion_tokens
        total = Fact(tokens + (known.value if known else 0), FactSource.DERIVED)
        self.facts = replace(self.facts, completion_tokens=total)

    def add_prompt(self, before: TaskFacts) -> None:
        """Add the prompt of another choice, which has one of its own."""
        now = self.facts
        self.facts = replace(
            now,
            prompt_tokens=_sum(before.prompt_tokens, now.prompt_tokens),
            cached_prompt_tokens=_sum(before.cached_prompt_tokens, now.cached_prompt_tokens),
        )

    def first_of(self, choices: int, raw: bytes | Raw | None, *, prompts: int = 1) -> None:
        """Accept it that usage is the first choice's alone, if raw ``timings`` of llama.cpp say the same.

        The others are taken to be as long; of several prompts only that of the first is told.
        """
        timings = members(raw, _Timings) if raw else None
        completion = self.facts.completion_tokens
        if timings and completion and timings.predicted_n == completion.value:
            estimate = Fact(completion.value * choices, FactSource.ESTIMATED)
            self.facts = replace(self.facts, completion_tokens=estimate)
            if prompts > 1:
                self.facts = replace(self.facts, prompt_tokens=None, cached_prompt_tokens=None)

    def server_timings(self, raw: bytes | Raw | None) -> None:
        """Accept llama.cpp's raw ``timings``; its counts stand in where usage is missing."""
        timings = members(raw, _Timings) if raw else None
        if not timings:
            return
        self.facts = replace(_timing_facts(timings), **_known(self.facts))
        prefill, decoding = milliseconds(timings.prompt_ms), milliseconds(timings.predicted_ms)
        self.timings = replace(self.timings, prefill=prefill, decode=decoding)

    def metrics(self, raw: bytes | Raw | None) -> None:
        """Accept vLLM's raw ``metrics``."""
        metrics = members(raw, _Metrics) if raw else None
        if metrics:
            self.timings = ServerTimings(
                queue=milliseconds(metrics.queue_time_ms),
                prefill=milliseconds(metrics.time_to_first_token_ms),
                decode=milliseconds(metrics.generation_time_ms),
            )


def _sum(one: Fact | None, other: Fact | None) -> Fact | None:
    return Fact(one.value + other.value, FactSource.DERIVED) if one and other else None


def _usage_facts(usage: _Usage) -> TaskFacts:
    if _is_plain(usage):
        return TaskFacts(
            prompt_tokens=Fact(usage.prompt_tokens), completion_tokens=Fact(usage.completion_tokens)
        )
    prompt = count(usage.prompt_tokens)
    if prompt is None:
        prompt = _with_cached(usage)
    asked = _details(usage.prompt_tokens_details or usage.input_tokens_details)
    given = _details(usage.completion_tokens_details or usage.output_tokens_details)
    audio = None if usage.seconds is None else seconds(usage.seconds)
    completion, reasoning = _completion(usage, prompt, _first(given.reasoning_tokens, usage.reasoning_tokens))
    return TaskFacts(
        prompt_tokens=_fact(prompt),
        cached_prompt_tokens=_part(_first(asked.cached_tokens, usage.cache_read_input_tokens), prompt),
        cache_write_tokens=fact(
            _first(asked.cache_write_tokens, asked.created_cache_tokens, usage.cache_creation_input_tokens)
        ),
        completion_tokens=completion,
        reasoning_tokens=_part(reasoning, completion.value if completion else None),
        images=fact(usage.image_count),
        audio_in=None if audio is None else Fact(audio),
    )


def _is_plain(usage: _Usage) -> bool:
    """Whether only the counts of prompt and completion, and their total, are there: the usual form."""
    prompt, completion = usage.prompt_tokens, usage.completion_tokens
    return (
        type(prompt) is int
        and type(completion) is int
        and 0 <= prompt <= CEILING
        and 0 <= completion <= CEILING
        and _other_members(usage).count(None) == len(_OTHERS)
    )


def _details(value: object) -> _Details:
    return convert(value, _Details) if isinstance(value, dict) else _NO_DETAILS


def _with_cached(usage: _Usage) -> int | None:
    """Return all tokens of the input: Anthropic counts those read from and written to the cache beside it."""
    fresh = count(usage.input_tokens)
    beside = (usage.cache_read_input_tokens, usage.cache_creation_input_tokens)
    return None if fresh is None else count(fresh + sum(count(tokens) or 0 for tokens in beside))


def _completion(usage: _Usage, prompt: int | None, reasoning: int | None) -> tuple[Fact | None, int | None]:
    """Return completion tokens with reasoning in them; some servers report the two side by side."""
    completion = _first(usage.completion_tokens, usage.output_tokens)
    if completion is None or prompt is None or not reasoning:
        return _fact(completion), reasoning
    if count(usage.total_tokens) == prompt + completion + reasoning:
        return Fact(completion + reasoning, FactSource.DERIVED), reasoning
    return _fact(completion), reasoning


def _timing_facts(timings: _Timings) -> TaskFacts:
    """Tokens of the prompt are those from the cache and those worked on; both must be known."""
    cached, worked = count(timings.cache_n), count(timings.prompt_n)
    prompt = None if cached is None or worked is None else Fact(cached + worked, FactSource.DERIVED)
    return TaskFacts(
        prompt_tokens=prompt,
        cached_prompt_tokens=_fact(cached),
        completion_tokens=fact(timings.predicted_n),
    )


def _first(*values: object) -> int | None:
    for value in values:
        if value is not None and (number := count(value)) is not None:
            return number
    return None


def _fact(number: int | None) -> Fact | None:
    return None if number is None else Fact(number)


def _part(number: int | None, whole: int | None) -> Fact | None:
    """Accept a part that is not larger than the whole."""
    return None if number is None or (whole is not None and number > whole) else Fact(number)


def _known(facts: TaskFacts) -> dict[str, Fact]:
    return {name: value for name in facts.__struct_fields__ if (value := getattr(facts, name)) is not None}
