"""Usage in all its forms becomes one normal form."""

import json
from typing import Any

import pytest

from joulegate.framing import UsageReader, may_tell
from joulegate.model import Fact, FactSource, ServerTimings, TaskFacts


def facts(**usage: Any) -> TaskFacts:
    accounts = UsageReader()
    accounts.usage(json.dumps(usage).encode())
    return accounts.facts


def test_both_vocabularies_are_read() -> None:
    """Chat says prompt and completion, responses say input and output."""
    chat = facts(
        prompt_tokens=5,
        completion_tokens=7,
        prompt_tokens_details={"cached_tokens": 2},
        completion_tokens_details={"reasoning_tokens": 3},
    )
    response = facts(
        input_tokens=5,
        output_tokens=7,
        input_tokens_details={"cached_tokens": 2},
        output_tokens_details={"reasoning_tokens": 3},
    )
    assert chat == response
    assert chat == TaskFacts(Fact(5), Fact(2), None, Fact(7), Fact(3))


def test_zeros_are_values() -> None:
    """A reported zero stays a zero, and what is not reported stays unknown."""
    assert facts(prompt_tokens=0) == TaskFacts(prompt_tokens=Fact(0))


@pytest.mark.parametrize("lie", [-5, 10**18, -0.6, "five", None, True, [5], {}])
def test_lies_are_unknown(lie: object) -> None:
    """A count that cannot be true is dropped; the others stay."""
    assert facts(prompt_tokens=lie, completion_tokens=3) == TaskFacts(completion_tokens=Fact(3))


@pytest.mark.parametrize("eleven", ["11", "11.0", "1.1e1", "10.92", '"11"', '"11.0"'])
def test_a_count_may_be_written_as_any_number(eleven: str) -> None:
    """Servers behind gateways write floats, exponents, averages and text."""
    reader = UsageReader()
    reader.usage(b'{"prompt_tokens":%b}' % eleven.encode())
    assert reader.facts == TaskFacts(prompt_tokens=Fact(11))


@pytest.mark.parametrize(
    "odd",
    [
        '"prompt_tokens_details":"none"',
        '"prompt_tokens_details":[1]',
        '"prompt_tokens_details":{"cached_tokens":1e999}',
        '"prompt_tokens":1e999',
        '"made_up":{"x":1e999}',
    ],
)
def test_an_odd_member_costs_only_itself(odd: str) -> None:
    """What can be read of usage is read, whatever stands beside it."""
    reader = UsageReader()
    reader.usage(b'{"completion_tokens":3,%b}' % odd.encode())
    assert reader.facts == TaskFacts(completion_tokens=Fact(3))


def test_parts_are_not_larger_than_the_whole() -> None:
    """More cached than prompted, or more reasoning than written, is nonsense."""
    lie = facts(
        prompt_tokens=5, completion_tokens=1, prompt_tokens_details={"cached_tokens": 6}, reasoning_tokens=2
    )
    assert lie == TaskFacts(prompt_tokens=Fact(5), completion_tokens=Fact(1))


def test_reasoning_beside_completion_is_added() -> None:
    """Where the total shows that completion leaves reasoning out, it is put in."""
    beside = facts(prompt_tokens=5, completion_tokens=1, reasoning_tokens=9, total_tokens=15)
    assert beside.completion_tokens == Fact(10, FactSource.DERIVED)


def test_the_last_usage_counts() -> None:
    """Cumulative counts are never summed, and ``null`` changes nothing."""
    accounts = UsageReader()
    for raw in (b'{"completion_tokens":1}', b'{"completion_tokens":2}', b"null", b"[]", b"{"):
        accounts.usage(raw)
    assert accounts.facts == TaskFacts(completion_tokens=Fact(2))


def test_llamacpp_timings_stand_in_for_usage() -> None:
    """Prompt tokens are those from the cache and those worked on; reported usage goes before them."""
    timings = b'{"cache_n":3,"prompt_n":4,"prompt_ms":1.5,"predicted_n":5,"predicted_ms":2}'
    accounts = UsageReader()
    accounts.server_timings(timings)
    assert accounts.facts == TaskFacts(Fact(7, FactSource.DERIVED), Fact(3), None, Fact(5))
    assert accounts.timings == ServerTimings(prefill=1_500_000, decode=2_000_000)  # type: ignore[arg-type]
    accounts.usage(b'{"prompt_tokens":8}')
    accounts.server_timings(timings)
    assert accounts.facts.prompt_tokens == Fact(8)


def test_timings_without_the_cache_leave_the_prompt_unknown() -> None:
    """Tokens worked on are not the prompt."""
    accounts = UsageReader()
    accounts.server_timings(b'{"prompt_n":4}')
    assert accounts.facts == TaskFacts()


def test_vllm_metrics_are_durations() -> None:
    """Queue, first token and generation, in milliseconds."""
    accounts = UsageReader()
    accounts.metrics(b'{"queue_time_ms":1,"time_to_first_token_ms":2.5,"generation_time_ms":NaN}')
    assert accounts.timings == ServerTimings(queue=1_000_000, prefill=2_500_000)  # type: ignore[arg-type]


def test_a_total_is_the_prompt_where_nothing_is_written() -> None:
    """Rerank servers report a total only."""
    accounts = UsageReader()
    accounts.total_is_prompt(b'{"total_tokens":9}')
    assert accounts.facts.prompt_tokens == Fact(9, FactSource.DERIVED)
    accounts.total_is_prompt(b'{"total_tokens":99}')
    assert accounts.facts.prompt_tokens == Fact(9, FactSource.DERIVED)


def test_anthropics_input_has_the_cache_beside_it() -> None:
    """All tokens of the input are those that were read anew, from the cache and into the cache."""
    told = facts(input_tokens=3, cache_read_input_tokens=100, cache_creation_input_tokens=20, output_tokens=5)
    assert told == TaskFacts(Fact(123), Fact(100), Fact(20), Fact(5))
    assert facts(input_tokens=3, cache_read_input_tokens=None, output_tokens=0) == TaskFacts(
        prompt_tokens=Fact(3), completion_tokens=Fact(0)
    )
    assert facts(cache_read_input_tokens=100).prompt_tokens is None


def test_openais_prompt_has_the_cache_in_it() -> None:
    """Gateways add Anthropic's words to OpenAI's, whose prompt has them in it already."""
    told = facts(prompt_tokens=123, cache_read_input_tokens=100, cache_creation_input_tokens=20)
    assert told == TaskFacts(Fact(123), Fact(100), Fact(20))


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        (b'{"choices":[{}],"usage":null}', False),
        (b'{"choices":[{}]}', False),
        (b'{"usage":{}}', True),
        (b'{"usage": null}', True),
        (b'{"usage":null,"response":{"usage":{}}}', True),
    ],
)
def test_an_event_whose_usage_is_null_tells_nothing(event: bytes, expected: bool) -> None:
    """Servers that put it into every event need not have every event decoded; at worst one is in vain."""
    assert may_tell(event) is expected
