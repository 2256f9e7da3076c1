"""Listens to a route of which the configuration says where its values stand (``[[route]]``)."""

from collections.abc import Mapping
from typing import Any

from msgspec import structs

from joulegate.framing import Found, MultipartPeek, Peek, PicturePeek, PointerPeek
from joulegate.framing.drawing import Drawing
from joulegate.framing.scan import dotted
from joulegate.framing.values import area, decode, derived, fact, flag, seconds, whole, word
from joulegate.model import Asked, Fact, FactSource, TaskFacts
from joulegate.observing import MULTIPART, Listener, header
from joulegate.ports import Headers, Places, Route

_SECONDS = ("audio_in", "audio_out")
_ALONE = ("prompt_tokens", "completion_tokens", "choices", "frames", "characters", *_SECONDS)
"""Fields that are facts by themselves; images, their size and their steps belong together."""
_USUAL_WISHES = {name: dotted(name) for name in Listener.wishes}
_USUAL_ANSWERS = {name: dotted(name) for name in Listener.answers}


class PointerObserver(Listener):
    """Finds values by the pointers of a rule; what stands in the usual places is read too."""

    def __init__(self, headers: Headers, route: Route) -> None:
        places = route.places or Places({}, {})
        self._wishes = {**_USUAL_WISHES, **places.request}
        self._answers = {**_USUAL_ANSWERS, **places.answer}
        self._marks = tuple(b'"%b"' % parts[-1].encode() for parts in self._answers.values() if parts)
        """One of these stands in every event that is to be looked into."""
        self._told = Found({}, {})
        super().__init__(headers, model=route.model)

    def request_peek(self, headers: Headers) -> Peek | None:
        """Look for the rule's places; in a form, for the fields of those names."""
        content_type = header(headers, b"content-type")
        if content_type.lower().startswith(MULTIPART):
            return _Form(content_type, self._wishes)
        return PointerPeek(self._wishes)

    def answer_peek(self, media: bytes, headers: Headers) -> Peek | None:
        """Look for the rule's places in JSON, and for the size of a picture."""
        if media.startswith(b"image/"):
            return PicturePeek()
        return PointerPeek(self._answers) if super().answer_peek(media, headers) else None

    def long_peek(self) -> Peek:
        """Look for the rule's places in a long event too."""
        return PointerPeek(self._answers)

    def wish(self, found: Found) -> Asked:
        """Return what the rule finds in the request, else what stands in the usual places."""
        drawing = _drawing(found)
        return Asked(
            model=word(found.members.get("model")),
            stream=flag(found.members.get("stream")),
            width=drawing.width,
            height=drawing.height,
            steps=drawing.steps,
            images=drawing.images,
        )

    def event(self, data: bytes) -> int:
        """Look into an event that may hold what is wanted; what is said last counts."""
        if data == b"[DONE]":
            return 0
        if any(mark in data for mark in self._marks):
            peek = self.long_peek()
            peek.feed(data)
            self.long_event(peek.found())
        return len(data)

    def long_event(self, found: Found) -> None:
        """Keep what was found, in an event of any length."""
        self.read_members(found.members)
        self.document(found)

    def document(self, found: Found) -> None:
        """Keep what was found in the answer."""
        self._told = Found({**self._told.members, **found.members}, {**self._told.counts, **found.counts})

    def facts(self) -> TaskFacts:
        """Return the facts of the request, and over them those of the answer."""
        facts = self.accounts.facts
        if not self.answered:
            return facts
        request = self.request_found()
        found = {**_alone(request, FactSource.DERIVED), **_alone(self._told, FactSource.REPORTED)}
        told = _number("images", self._told, FactSource.REPORTED)
        images = told or derived(self._told.counts.get("pictures")) or _images(request)
        drawn = _drawing(self._told).over(_drawing(request)).facts(images)
        drawing = {"images": images or facts.images, "pixels": drawn.pixels, "steps": drawn.steps}
        return structs.replace(facts, **found, **drawing)


class _Form:
    """The fields of a form, named as the rule names them."""

    def __init__(self, content_type: bytes, wanted: Mapping[str, tuple[str, ...]]) -> None:
        self._fields = {name: parts[0] for name, parts in wanted.items() if len(parts) == 1}
        self._form = MultipartPeek(content_type, self._fields.values())

    def feed(self, chunk: bytes) -> None:
        """Accept the next part of the form."""
        self._form.feed(chunk)

    def found(self) -> Found:
        """Return the fields that are complete."""
        members = self._form.found().members
        return Found({name: members[field] for name, field in self._fields.items() if field in members}, {})


def _images(request: Found) -> Fact | None:
    return _number("images", request, FactSource.DERIVED)


def _alone(found: Found, source: FactSource) -> dict[str, Fact]:
    known = {name: _number(name, found, source) for name in _ALONE}
    return {name: value for name, value in known.items() if value is not None}


def _number(name: str, found: Found, source: FactSource) -> Fact | None:
    """Return the number that stands there, or how many elements an array or characters a text has."""
    if name in found.counts:
        return derived(found.counts[name])
    raw = found.members.get(name)
    if name in _SECONDS:
        length = seconds(decode(raw or b"null", float))
        return None if length is None else Fact(length, source)
    text = decode(raw, str) if raw is not None and name == "characters" else None
    return derived(len(text)) if text is not None else fact(whole(raw), source)


def _drawing(found: Found) -> Drawing:
    members: Mapping[str, Any] = found.members
    width, height = area(members.get("size")) or (whole(members.get("width")), whole(members.get("height")))
    return Drawing(
        width=whole(members.get("picture.width")) or width,
        height=whole(members.get("picture.height")) or height,
        steps=whole(members.get("steps")),
        images=found.counts.get("images", whole(members.get("images"))),
    )
