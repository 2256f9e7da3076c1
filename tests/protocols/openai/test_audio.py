"""Speech in and out."""

import struct
from collections.abc import Callable

import pytest

from joulegate.model import Fact, FactSource, TaskFacts
from joulegate.ports import InferenceProtocol, Observer

Play = Callable[..., Observer]
WAVE = (
    b"RIFF\0\0\0\0WAVEfmt " + struct.pack("<IHHIIHH", 16, 1, 1, 16_000, 32_000, 2, 16)
    + b"data" + struct.pack("<I", 64_000) + bytes(64_000)
)  # fmt: skip
TWO_SECONDS = Fact(2 * 10**9, FactSource.DERIVED)


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


@pytest.mark.parametrize(
    ("media", "sound", "length"),
    [
        (b"audio/wav", WAVE, TWO_SECONDS),
        (b"audio/pcm", bytes(96_000), TWO_SECONDS),
        (b"audio/mpeg", b"ID3" * 1000, None),
        (b"audio/wav", b"no file", None),
    ],
)
def test_sounds_that_tell_their_length_are_counted(
    exchange: Play, media: bytes, sound: bytes, length: Fact | None
) -> None:
    """Compressed ones do not."""
    assert exchange("/v1/audio/speech", b"{}", sound, media=media).facts() == TaskFacts(audio_out=length)


def test_a_recording_that_tells_its_length_is_counted(plugin: Callable[[str], InferenceProtocol]) -> None:
    """Where the server does not say; a failure heard nothing."""
    openai = plugin("openai")
    route = openai.matches("POST", "/v1/audio/transcriptions")
    assert route
    mark = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n'
    for status, expected in ((200, TWO_SECONDS), (400, None)):
        observer = openai.observer(route, [(b"Content-Type", b"multipart/form-data; boundary=b")])
        observer.request_body(mark + WAVE + b"\r\n--b--")
        observer.response_head(status, [(b"Content-Type", b"application/json")])
        observer.response_end(complete=True)
        assert observer.facts() == TaskFacts(audio_in=expected)
