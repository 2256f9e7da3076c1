"""AUTOMATIC1111's web interface, Forge, and what speaks their language (stable-diffusion.cpp, KoboldCpp).

Source: modules/api/api.py, modules/api/models.py and modules/processing.py of
https://github.com/AUTOMATIC1111/stable-diffusion-webui; examples/server/routes_sdapi.cpp of
https://github.com/leejet/stable-diffusion.cpp. One blocking answer holds pictures in base64, an echo of the
request with the server's defaults filled in (``parameters``), and the final values as a *string* of JSON
(``info``). What the server says of itself counts more than what was asked for. All requests wait under one
lock, so that the time of one is queue and work alike.
"""

from typing import Any

from msgspec import Struct

from joulegate.framing import Found, size_in
from joulegate.framing.drawing import Drawing, Pass, hidden_in, second_pass
from joulegate.framing.values import count, decode, derived, whole, word
from joulegate.model import Asked, Task, TaskFacts, WorkClass
from joulegate.observing import Listener
from joulegate.ports import About, Headers, Observer, Route

_BASE = "/sdapi/v1/"
_LOAD = Route("load", work=WorkClass.MODEL_LOAD, reads_body=False, dialect="a1111")
_ADMIN = Route("admin", work=WorkClass.ADMIN, reads_body=False, dialect="a1111")
_PROBE = Route("probe", work=WorkClass.PROBE, reads_body=False, dialect="a1111")
_POST = {
    "txt2img": Route("txt2img", Task.IMAGE_GENERATION, dialect="a1111"),
    "img2img": Route("img2img", Task.IMAGE_EDIT, dialect="a1111"),
    "extra-single-image": Route("extras", Task.IMAGE_EDIT, dialect="a1111"),
    "extra-batch-images": Route("extras", Task.IMAGE_EDIT, dialect="a1111"),
    "interrogate": Route("interrogate", Task.IMAGE_CAPTIONING, dialect="a1111"),
    "options": Route("options", work=WorkClass.ADMIN, dialect="a1111"),
    "reload-checkpoint": _LOAD,
    "unload-checkpoint": _LOAD,
}
"""What makes the model work or load. Setting the option ``sd_model_checkpoint`` loads one too."""

_SIZES = ("width", "height", "steps")
_SECOND = ("enable_hr", "hr_scale", "hr_resize_x", "hr_resize_y", "hr_second_pass_steps", "hr_steps")
_COUNTS = ("batch_size", "n_iter")
_WISHED = frozenset({*_SIZES, *_SECOND, *_COUNTS})
_CHECKPOINT = "override_settings.sd_model_checkpoint"


class Plugin:
    """Knows everything below ``/sdapi/v1``."""

    about = About(
        servers=("AUTOMATIC1111", "Forge", "stable-diffusion.cpp", "KoboldCpp"),
        kinds=("a1111", "sdcpp", "koboldcpp"),
        routes=(
            "POST /sdapi/v1/extra-batch-images", "POST /sdapi/v1/unload-checkpoint",
            "POST /sdapi/v1/interrupt", "GET /sdapi/v1/options",
        ),
        usage="`images`; size, steps and model of `info`, else of the echo `parameters`, else as asked; a "
        "second pass (hires fix) counts by its area; `<sd_cpp_extra_args>` in the prompt",
        streaming="none: one blocking answer",
        disconnect="goes on; `POST /sdapi/v1/interrupt` stops it",
    )  # fmt: skip

    def matches(self, method: str, path: str) -> Route | None:
        """Return the route, or ``None`` if the path is not below ``/sdapi/v1``."""
        if not path.startswith(_BASE):
            return None
        if method == "POST":
            return _POST.get(path.removeprefix(_BASE), _ADMIN)
        return _PROBE if method == "GET" else None

    def observer(self, route: Route, headers: Headers) -> Observer:
        """Return a fresh listener for one exchange."""
        return _LISTENERS.get(route.name, Control)(headers)


class A1111Generation(Listener):
    """``txt2img`` and ``img2img``."""

    wishes = _WISHED | {_CHECKPOINT, "prompt"}
    answers = frozenset({"info"} | {f"parameters.{name}" for name in _WISHED})
    answer_counts = frozenset({"images"})

    def __init__(self, headers: Headers, *, model: str | None = None) -> None:
        super().__init__(headers, model=model)
        self._done: Drawing | None = None

    def wish(self, found: Found) -> Asked:
        """Return size, steps, images and the checkpoint to use for this request."""
        drawing = _asked(found)
        return Asked(
            model=word(found.members.get(_CHECKPOINT)),
            width=drawing.width,
            height=drawing.height,
            steps=drawing.steps,
            images=drawing.images,
        )

    def document(self, found: Found) -> None:
        """Accept the final values. Grids and maps of extensions stand among the images, but have no seed."""
        told = _info(found.members.get("info"))
        echo = _drawing({name: found.members.get(f"parameters.{name}") for name in _WISHED})
        listed = found.counts.get("images")
        seeds = len(told.all_seeds) or None
        images = min(listed, seeds) if listed and seeds else listed or seeds
        self.answer_model = told.sd_model_name
        final = Drawing(count(told.width), count(told.height), count(told.steps), images)
        self._done = final.over(echo).over(_asked(self.request_found()))

    def facts(self) -> TaskFacts:
        """Return images, pixels and steps."""
        return self._done.facts(derived(self._done.images)) if self._done else self.accounts.facts


class Extras(Listener):
    """Enlarging and mending of pictures."""

    wishes = frozenset({"stream"})
    wish_counts = frozenset({"imageList"})
    answer_counts = frozenset({"images"})
    answer_heads = frozenset({"image", "images.0"})

    def __init__(self, headers: Headers, *, model: str | None = None) -> None:
        super().__init__(headers, model=model)
        self._images: int | None = None
        self._size: tuple[int, int] | None = None

    def document(self, found: Found) -> None:
        """Count the pictures; the size of the first is that of all."""
        single = found.members.get("image")
        self._size = size_in(single or found.members.get("images.0"))
        self._images = 1 if single else found.counts.get("images")

    def facts(self) -> TaskFacts:
        """Return images and pixels."""
        return Drawing().facts(derived(self._images), self._size)


class Interrogation(Listener):
    """A caption for a picture; ``model`` is the method, ``clip`` or ``deepdanbooru``."""

    def facts(self) -> TaskFacts:
        """Return one caption."""
        return TaskFacts(choices=derived(1)) if self.answered else TaskFacts()


class Control(Listener):
    """Options and the rest: setting the checkpoint loads a model."""

    wishes = frozenset({"sd_model_checkpoint"})

    def wish(self, found: Found) -> Asked:
        """Return the checkpoint that is to be loaded."""
        checkpoint = word(found.members.get("sd_model_checkpoint"))
        return Asked(model=checkpoint, work=WorkClass.MODEL_LOAD) if checkpoint else Asked()


_LISTENERS: dict[str, type[Listener]] = {
    "txt2img": A1111Generation,
    "img2img": A1111Generation,
    "extras": Extras,
    "interrogate": Interrogation,
}


class _Info(Struct):
    width: Any = None
    height: Any = None
    steps: Any = None
    all_seeds: list[Any] = []
    sd_model_name: str | None = None


def _info(raw: bytes | None) -> _Info:
    """Return what the JSON in the JSON says; a very long one, of many long prompts, is not read."""
    text = decode(raw, str) if raw is not None else None
    return (decode(text.encode(), _Info) if text else None) or _Info()


def _asked(found: Found) -> Drawing:
    members = found.members
    return hidden_in(members.get("prompt")).over(_drawing({name: members.get(name) for name in _WISHED}))


def _drawing(members: dict[str, bytes | None]) -> Drawing:
    width, height, steps = (whole(members[name]) for name in _SIZES)
    numbers = [whole(members[name]) for name in _COUNTS]
    known = [number for number in numbers if number is not None]
    images = known[0] * known[-1] if len(known) > 1 else known[0] if known else None
    return Drawing(width, height, steps, images, _second(members))


def _second(members: dict[str, bytes | None]) -> Pass | None:
    if members["enable_hr"] != b"true":
        return None
    scale = decode(members["hr_scale"] or b"null", Any)
    steps = whole(members["hr_second_pass_steps"]) or whole(members["hr_steps"])
    return second_pass(scale, whole(members["hr_resize_x"]), whole(members["hr_resize_y"]), steps)
