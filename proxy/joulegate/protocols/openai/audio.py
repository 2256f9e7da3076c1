"""Listens to exchanges that turn text into speech or speech into text."""

from msgspec.structs import replace

from joulegate.framing import Found
from joulegate.framing.values import decode, seconds
from joulegate.model import Fact, FactSource, TaskFacts
from joulegate.protocols.openai.text import Generation, texts


class Speech(Generation):
    """``/audio/speech``: the sound itself, or events with parts of it."""

    wishes = frozenset({"model", "stream", "input"})
    texts = texts(b"audio")

    def facts(self) -> TaskFacts:
        """Give the characters to speak, which is what there is to count."""
        text = decode(self.request_found().members.get("input", b"null"), str) if self.answered else None
        characters = Fact(len(text), FactSource.DERIVED) if text is not None else None
        return replace(self.accounts.facts, characters=characters)


class Transcript(Generation):
    """``/audio/transcriptions`` and ``/audio/translations``: usage counts tokens or seconds."""

    answers = Generation.answers | {"duration"}
    texts = texts(b"delta|content")

    def document(self, found: Found) -> None:
        """Read the length of the recording, which verbose answers have outside usage."""
        length = seconds(decode(found.members.get("duration", b"null"), float))
        if length is not None and self.accounts.facts.audio_in is None:
            self.accounts.facts = replace(self.accounts.facts, audio_in=Fact(length))

    def facts(self) -> TaskFacts:
        """Give the work done: a transcript has no choices."""
        return self.accounts.facts
