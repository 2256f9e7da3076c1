"""Speech in and out."""

from collections.abc import Callable

from joulegate.model import Fact, FactSource, TaskFacts
from joulegate.ports import Observer

Play = Callable[..., Observer]


def test_speech_is_counted_in_characters(exchange: Play) -> None:
    """Of the text to speak; a failure spoke nothing."""
    body = '{"input":"Grüße"}'.encode()
    facts = exchange("/v1/audio/speech", body, b"ID3", media=b"audio/mpeg").facts()
    assert facts == TaskFacts(characters=Fact(5, FactSource.DERIVED))
    assert exchange("/v1/audio/speech", body, b"{}", status=500).facts() == TaskFacts()


def test_transcripts_report_seconds_or_tokens(exchange: Play) -> None:
    """In usage, or beside it in verbose answers."""
    path = "/v1/audio/transcriptions"
    for answer in (b'{"usage":{"type":"duration","seconds":7}}', b'{"duration":7.0,"text":"x"}'):
        assert exchange(path, b"{}", answer).facts() == TaskFacts(audio_in=Fact(7_000_000_000))
    tokens = b'{"usage":{"type":"tokens","input_tokens":3,"output_tokens":2}}'
    assert exchange(path, b"{}", tokens).facts() == TaskFacts(
        prompt_tokens=Fact(3), completion_tokens=Fact(2)
    )


def test_the_last_event_of_a_transcript_has_its_usage(exchange: Play) -> None:
    """Deltas first, then the whole text with usage."""
    answer = (
        b'data: {"type":"transcript.text.delta","delta":"hi"}\n\n'
        b'data: {"type":"transcript.text.done","text":"hi","usage":{"input_tokens":3,"output_tokens":1}}\n\n'
    )
    observer = exchange("/v1/audio/transcriptions", b"{}", answer, media=b"text/event-stream")
    assert observer.facts() == TaskFacts(prompt_tokens=Fact(3), completion_tokens=Fact(1))
