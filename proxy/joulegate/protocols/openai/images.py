"""Listens to exchanges that make images.

Images are counted in the answer; their size is the answer's own, else the one asked for. A server's default
size or number of steps is not known and not guessed.
"""

from collections.abc import Mapping

from msgspec import Raw
from msgspec.structs import replace

from joulegate.framing import Found
from joulegate.framing.values import area, decode, flag, seconds, whole, word
from joulegate.listener import Listener
from joulegate.model import Asked, Fact, FactSource, ServerTimings, TaskFacts
from joulegate.ports import Headers


class Image(Listener):
    """``/images/generations``, ``/images/edits`` and ``/images/variations``."""

    wishes = frozenset({
        "model", "stream", "n", "size", "width", "height", "num_inference_steps", "steps",
    })  # fmt: skip
    answers = frozenset({"model", "usage", "timings", "metrics", "size", "type", "inference_time_s"})
    answer_counts = frozenset({"data", "images"})

    def __init__(self, headers: Headers, *, model: str | None = None) -> None:
        super().__init__(headers, model=model)
        self._images: int | None = None
        self._size: tuple[int, int] | None = None
        self._picture = False

    def wish(self, found: Found) -> Asked:
        """Give model, size, steps and number of images."""
        members = found.members
        size = area(members.get("size")) or (whole(members.get("width")), whole(members.get("height")))
        steps = whole(members.get("num_inference_steps"))
        return Asked(
            model=word(members.get("model")),
            stream=flag(members.get("stream")),
            width=size[0],
            height=size[1],
            steps=steps if steps is not None else whole(members.get("steps")),
            images=whole(members.get("n")),
        )

    def response_head(self, status: int, headers: Headers) -> None:
        """Note an answer that is the picture itself."""
        super().response_head(status, headers)
        self._picture = self.answered and any(
            key.lower() == b"content-type" and value.lower().startswith(b"image/") for key, value in headers
        )

    def response_end(self, *, complete: bool) -> None:
        """Count the picture that came as such."""
        super().response_end(complete=complete)
        if self._picture and complete:
            self._images = 1

    def event(self, data: bytes) -> int:
        """Take one event: a partial image or a complete one."""
        members = self.account(data)
        if members is None:
            return 0
        self._note(members)
        return len(data)

    def long_event(self, found: Found) -> None:
        """Take an event that is too long to be decoded, as most with an image are."""
        self.read_members(found.members)
        self._note(found.members)

    def document(self, found: Found) -> None:
        """Count the images of the answer; without a list of them they are as many as asked for."""
        counts = found.counts
        self._images = counts.get("data", counts.get("images", self.asked().images))
        self._size = area(found.members.get("size"))
        taken = seconds(decode(found.members.get("inference_time_s", b"null"), float))
        if taken is not None:
            self.accounts.timings = ServerTimings(decode=taken)

    def facts(self) -> TaskFacts:
        """Give images, pixels and steps as far as they are known."""
        facts = self.accounts.facts
        asked = self.asked()
        known = facts.images or _derived(self._images)
        size = self._size or (asked.width, asked.height)
        return replace(
            facts,
            images=known,
            pixels=_derived(known.value * size[0] * size[1]) if known and size[0] and size[1] else None,
            steps=_derived(asked.steps) if known else None,
        )

    def _note(self, members: Mapping[str, bytes | Raw]) -> None:
        kind = word(members.get("type")) or ""
        if kind.endswith(".completed"):
            self._images = (self._images or 0) + 1
            self._size = area(members.get("size")) or self._size


def _derived(number: int | None) -> Fact | None:
    return None if number is None else Fact(number, FactSource.DERIVED)
