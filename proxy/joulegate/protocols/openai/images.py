"""Listens to exchanges that make images.

Images are counted in the answer; their size is the answer's own, else the one that the first picture's file
says, else the one asked for. A server's default size or number of steps is not known and not guessed.

Beside OpenAI's: SGLang's and vLLM-Omni's numbers of steps and durations; stable-diffusion.cpp's own
parameters, which stand in the text of the prompt and count more than the request's.
"""

from collections.abc import Mapping

from msgspec import Raw
from msgspec.structs import replace

from joulegate.framing import Found, Peek, PicturePeek, size_in
from joulegate.framing.drawing import Drawing, hidden_in
from joulegate.framing.values import area, decode, derived, flag, seconds, whole, word
from joulegate.model import Asked, ServerTimings, TaskFacts
from joulegate.observing import Listener
from joulegate.ports import Headers

_STAGES = ("metrics.stage_durations", "stage_durations")
_READING = ("text_encoder", "tokenizer", "vae.encode")


class Image(Listener):
    """``/images/generations``, ``/images/edits`` and ``/images/variations``."""

    wishes = frozenset({
        "model", "stream", "n", "size", "width", "height", "num_inference_steps", "steps", "prompt",
    })  # fmt: skip
    answers = frozenset({
        "model", "usage", "timings", "metrics", "size", "type", "inference_time_s", *_STAGES,
    })  # fmt: skip
    answer_counts = frozenset({"data", "images"})
    answer_heads = frozenset({"data.0.b64_json", "data.0.url", "images.0"})

    def __init__(self, headers: Headers, *, model: str | None = None) -> None:
        super().__init__(headers, model=model)
        self._images: int | None = None
        self._size: tuple[int, int] | None = None

    def answer_peek(self, media: bytes, headers: Headers) -> Peek | None:
        """Read the size of an answer that is the picture itself."""
        return PicturePeek() if media.startswith(b"image/") else super().answer_peek(media, headers)

    def wish(self, found: Found) -> Asked:
        """Return model, size, steps and number of images."""
        members = found.members
        drawing = _asked(members)
        return Asked(
            model=word(members.get("model")),
            stream=flag(members.get("stream")),
            width=drawing.width,
            height=drawing.height,
            steps=drawing.steps,
            images=drawing.images,
        )

    def event(self, data: bytes) -> int:
        """Accept one event: a partial image or a complete one."""
        members = self.account(data)
        if members is None:
            return 0
        self._note(members)
        return len(data)

    def long_event(self, found: Found) -> None:
        """Accept an event that is too long to be decoded, as most with an image are."""
        self.read_members(found.members)
        self._note(found.members)

    def document(self, found: Found) -> None:
        """Count the images of the answer; without a list of them they are as many as asked for."""
        members, counts = found.members, found.counts
        listed = counts.get("data", counts.get("images", self.asked().images))
        self._images = counts.get("pictures", listed)
        self._size = area(members.get("size")) or _pictured(members)
        self.accounts.timings = _timings(members) or self.accounts.timings

    def facts(self) -> TaskFacts:
        """Return images, pixels and steps as far as they are known."""
        known = self.accounts.facts
        images = known.images or derived(self._images)
        drawn = _asked(self.request_found().members).facts(images, self._size)
        return replace(known, images=images, pixels=drawn.pixels, steps=drawn.steps)

    def _note(self, members: Mapping[str, bytes | Raw]) -> None:
        kind = word(members.get("type")) or ""
        if kind.endswith(".completed"):
            self._images = (self._images or 0) + 1
            self._size = area(members.get("size")) or self._size


def _asked(members: Mapping[str, bytes]) -> Drawing:
    size = area(members.get("size")) or (whole(members.get("width")), whole(members.get("height")))
    steps = whole(members.get("num_inference_steps"))
    plain = Drawing(
        width=size[0],
        height=size[1],
        steps=steps if steps is not None else whole(members.get("steps")),
        images=whole(members.get("n")),
    )
    return hidden_in(members.get("prompt")).over(plain)


def _pictured(members: Mapping[str, bytes]) -> tuple[int, int] | None:
    """Return the size that the first picture of the answer says of itself."""
    width, height = (whole(members.get(f"picture.{side}")) for side in ("width", "height"))
    if width and height:
        return width, height
    heads = (members.get(path) for path in Image.answer_heads)
    return next((size for head in heads if (size := size_in(head))), None)


def _timings(members: Mapping[str, bytes]) -> ServerTimings | None:
    """Return SGLang's and vLLM-Omni's durations, in seconds.

    Stages are named by the method that is timed, for example ``QwenImagePipeline.diffuse``
    (vllm_omni/diffusion/profiler of https://github.com/vllm-project/vllm-omni).
    """
    whole_work = seconds(decode(members.get("inference_time_s", b"null"), float))
    raw = next((members[path] for path in _STAGES if path in members), b"null")
    stages = decode(raw, dict[str, float]) or {}
    reading = sum(took for name, took in stages.items() if any(part in name for part in _READING))
    if stages:
        drawing = seconds(sum(stages.values()) - reading)
        return ServerTimings(prefill=seconds(reading) if reading else None, decode=drawing)
    return None if whole_work is None else ServerTimings(decode=whole_work)
