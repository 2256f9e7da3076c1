"""How much a diffusion request draws: images, pixels and steps, with a second pass if there is one."""

import re

from msgspec import Struct, structs

from joulegate.framing.values import count, decode, derived
from joulegate.model import Fact, FactSource, TaskFacts

Size = tuple[int, int]
_HIDDEN = re.compile(r"<sd_cpp_extra_args>(.*?)</sd_cpp_extra_args>")


class Pass(Struct, frozen=True):
    """A second pass at a larger size; its members are named and read as AUTOMATIC1111 does.

    See ``StableDiffusionProcessingTxt2Img`` in modules/processing.py of
    https://github.com/AUTOMATIC1111/stable-diffusion-webui; stable-diffusion.cpp does the same.
    """

    scale: float = 2.0
    width: int = 0
    height: int = 0
    """``0`` follows from the other side, or both from ``scale``."""
    steps: int = 0
    """``0`` is as many as in the first pass."""

    def size(self, width: int, height: int) -> Size:
        """Return the size to which a picture of this size grows."""
        if self.width and self.height:
            return self.width, self.height
        if self.width:
            return self.width, self.width * height // width
        if self.height:
            return self.height * width // height, self.height
        return int(width * self.scale), int(height * self.scale)


class Drawing(Struct, frozen=True):
    """What is known of a request that draws; ``None`` is not known."""

    width: int | None = None
    height: int | None = None
    steps: int | None = None
    images: int | None = None
    second: Pass | None = None

    def over(self, other: "Drawing") -> "Drawing":
        """Return this where it is known, else the other."""
        known = {name: value for name, value in structs.asdict(self).items() if value is not None}
        return structs.replace(other, **known)

    def facts(self, images: Fact | None, final: Size | None = None) -> TaskFacts:
        """Return the facts of so many images; ``final`` is the size that the answer says they have.

        With a second pass, steps are as many steps at the final size as both passes are worth by their areas:
        an estimate, because the second one leaves out steps by its strength.
        """
        first = (self.width, self.height) if self.width and self.height else None
        final = final or (self.second.size(*first) if self.second and first else first)
        area = final[0] * final[1] if final else None
        return TaskFacts(
            images=images,
            pixels=derived(images.value * area) if images and area else None,
            steps=self._steps(first, area) if images else None,
        )

    def _steps(self, first: Size | None, area: int | None) -> Fact | None:
        if self.second is None or self.steps is None:
            return derived(self.steps)
        if not first or not area:
            return None
        worth = round(self.steps * first[0] * first[1] / area) + (self.second.steps or self.steps)
        return Fact(worth, FactSource.ESTIMATED)


def hidden_in(prompt: bytes | None) -> Drawing:
    """Return what stable-diffusion.cpp reads out of the text of a prompt, over the request's own members.

    See examples/server/api.md of https://github.com/leejet/stable-diffusion.cpp, ``sd_cpp_extra_args``.
    """
    text = decode(prompt, str) if prompt is not None and b"<sd_cpp_extra_args>" in prompt else None
    match = _HIDDEN.search(text or "")
    found = decode(match[1].encode(), _Native) if match else None
    return found.drawing() if found else Drawing()


class _Sampling(Struct):
    sample_steps: object = None


class _Hires(Struct):
    enabled: object = False
    scale: object = 2.0
    target_width: object = 0
    target_height: object = 0
    steps: object = 0


class _Native(Struct):
    """The request of stable-diffusion.cpp's own interface, as far as it says how large the work is."""

    width: object = None
    height: object = None
    batch_count: object = None
    sample_params: _Sampling | None = None
    hires: _Hires | None = None

    def drawing(self) -> Drawing:
        hires = self.hires if self.hires and self.hires.enabled is True else None
        return Drawing(
            width=count(self.width),
            height=count(self.height),
            steps=count(self.sample_params.sample_steps) if self.sample_params else None,
            images=count(self.batch_count),
            second=second_pass(hires.scale, hires.target_width, hires.target_height, hires.steps)
            if hires
            else None,
        )


def second_pass(scale: object, width: object, height: object, steps: object) -> Pass:
    """Return a second pass of numbers that a request may have; nonsense is as if it were left out."""
    factor = float(scale) if isinstance(scale, int | float) and 0 < scale <= 16 else 2.0
    return Pass(factor, count(width) or 0, count(height) or 0, count(steps) or 0)
