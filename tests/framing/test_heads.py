"""What stands in the head of an answer becomes facts."""

import pytest

from joulegate.framing import UsageReader
from joulegate.framing.heads import facts_of, timings_of
from joulegate.model import Fact, ServerTimings, TaskFacts

TGI = {
    b"x-compute-type": b"gpu", b"x-compute-time": b"0.8", b"x-compute-characters": b"20",
    b"x-queue-time": b"3", b"x-inference-time": b"809", b"x-prompt-tokens": b"6", b"x-generated-tokens": b"0",
}  # fmt: skip


def test_tgi_counts_both_ways_and_tells_no_prefill() -> None:
    """A reported zero stays; where in the inference the prefill ended is not known."""
    assert facts_of(TGI) == TaskFacts(prompt_tokens=Fact(6), completion_tokens=Fact(0), characters=Fact(20))
    assert timings_of(TGI) == ServerTimings(queue=3_000_000)  # type: ignore[arg-type]  # plain numbers here


def test_tei_reads_only() -> None:
    """All of its inference is prefill."""
    fields = {b"x-compute-tokens": b"11", b"x-queue-time": b"0", b"x-inference-time": b"6"}
    assert facts_of(fields) == TaskFacts(prompt_tokens=Fact(11))
    assert timings_of(fields) == ServerTimings(queue=0, prefill=6_000_000)  # type: ignore[arg-type]


@pytest.mark.parametrize("value", [b"", b"-1", b"1.5", b"many", b"99999999999", b"\xb2", b" 1"])
def test_what_is_no_count_is_unknown(value: bytes) -> None:
    """A head is a claim like any other."""
    assert facts_of({b"x-prompt-tokens": value}) == TaskFacts()


def test_another_servers_head_says_nothing() -> None:
    """Only a head with the mark of these servers is read; a usage in the body counts more."""
    accounts = UsageReader()
    accounts.head({b"x-prompt-tokens": b"6"})
    assert accounts.facts == TaskFacts()
    accounts.head(TGI)
    accounts.usage(b'{"prompt_tokens":7}')
    assert accounts.facts.prompt_tokens == Fact(7)
    assert accounts.facts.characters == Fact(20)
