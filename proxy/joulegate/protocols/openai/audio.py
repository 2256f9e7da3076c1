"""Listens to exchanges that turn text into speech or speech into text.

The length of a sound is what the server says, else what the file says: WAV and bare samples do.
"""

from msgspec.structs import replace

from joulegate.framing import Found, MultipartPeek, Peek, SoundPeek
from joulegate.framing.sound import heard, wave_length
from joulegate.framing.values import decode, derived, seconds
from joulegate.model import Fact, FactSource, TaskFacts
from joulegate.observing import MULTIPART, header
from joulegate.ports import Headers
from joulegate.protocols.openai.text import Generation, texts

_FILE = "file"


class Speech(Generation):
    """``/audio/speech``: the sound itself, or events with parts of it."""

    wishes = frozenset({"model", "stream", "input"})
    texts = texts(b"audio")

    def __init__(self, headers: Headers, *, model: str | None = None) -> None:
        super().__init__(headers, model=model)
        self._sound: Fact | None = None

    def answer_peek(self, media: bytes, headers: Headers) -> Peek | None:
        """Count the seconds of a sound that tells them."""
        if SoundPeek.reads(media):
            return SoundPeek(header(headers, b"content-type"))
        return super().answer_peek(media, headers)

    def document(self, found: Found) -> None:
        """Keep the length of the sound."""
        self._sound = heard(found)

    def facts(self) -> TaskFacts:
        """Return the characters to speak and the seconds that were spoken, as far as they are known."""
        text = decode(self.request_found().members.get("input", b"null"), str) if self.answered else None
        characters = derived(len(text)) if text is not None else None
        return replace(self.accounts.facts, characters=characters, audio_out=self._sound)


class Transcript(Generation):
    """``/audio/transcriptions`` and ``/audio/translations``: usage counts tokens or seconds."""

    answers = Generation.answers | {"duration"}
    texts = texts(b"delta|content")

    def request_peek(self, headers: Headers) -> Peek | None:
        """Look at the head of the recording too."""
        content_type = header(headers, b"content-type")
        if content_type.lower().startswith(MULTIPART):
            return MultipartPeek(content_type, self.wishes, [_FILE])
        return super().request_peek(headers)

    def document(self, found: Found) -> None:
        """Read the length of the recording, which verbose answers have outside usage."""
        length = seconds(decode(found.members.get("duration", b"null"), float))
        if length is not None and self.accounts.facts.audio_in is None:
            self.accounts.facts = replace(self.accounts.facts, audio_in=Fact(length))

    def facts(self) -> TaskFacts:
        """Return the work done: a transcript has no choices."""
        facts = self.accounts.facts
        if not self.answered or facts.audio_in is not None:
            return facts
        members, counts = self.request_found()
        length = wave_length(members[_FILE], counts[_FILE]) if _FILE in counts else None
        return facts if length is None else replace(facts, audio_in=Fact(length, FactSource.DERIVED))
