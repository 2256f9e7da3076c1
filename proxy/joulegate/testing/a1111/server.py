"""The wire: routes and what each of them answers."""

import asyncio
import base64
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec
from aiohttp import web
from msgspec import Struct

from joulegate.testing.a1111.drawing import Artist, Denoiser, Picture, png


class Wish(Struct, kw_only=True):
    """``StableDiffusionTxt2ImgProcessingAPI`` with its defaults, as far as it is acted upon."""

    prompt: str = ""
    negative_prompt: str = ""
    seed: int = -1
    steps: int = 50
    cfg_scale: float = 7.0
    width: int = 512
    height: int = 512
    n_iter: int = 1
    batch_size: int = 1
    enable_hr: bool = False
    hr_scale: float = 2.0
    hr_resize_x: int = 0
    hr_resize_y: int = 0
    hr_second_pass_steps: int = 0
    denoising_strength: float | None = None
    override_settings: dict[str, Any] | None = None
    init_images: list[str] | None = None
    send_images: bool = True

    def final(self) -> tuple[int, int]:
        """Return the size of the second pass."""
        if not self.hr_resize_x and not self.hr_resize_y:
            return int(self.width * self.hr_scale), int(self.height * self.hr_scale)
        width = self.hr_resize_x or self.hr_resize_y * self.width // self.height
        return width, self.hr_resize_y or width * self.height // self.width


class State(Struct):
    """``shared.state``: what ``/progress`` tells."""

    job: str = ""
    job_count: int = 0
    job_no: int = 0
    sampling_step: int = 0
    sampling_steps: int = 0
    interrupted: bool = False
    skipped: bool = False


class Server:
    """One server; each request blocks a thread, and all of them wait for one lock."""

    def __init__(self, artist: Artist | None = None, checkpoint: str = "v1-5-pruned-emaonly") -> None:
        self._artist = artist or Denoiser()
        self._queue = threading.Lock()
        self._threads = ThreadPoolExecutor(max_workers=40, thread_name_prefix="a1111")
        self._checkpoint = checkpoint
        self.state = State()
        self.finished = 0
        """Requests that were worked on to their end, whether their client was there or not."""
        self.stepped: Callable[[], None] = lambda: None
        """Called in the worker's thread after every step: where tests wait."""

    def application(self) -> web.Application:
        """Return the application."""
        app = web.Application(client_max_size=256 << 20)
        base = "/sdapi/v1"
        app.add_routes([
            web.post(f"{base}/txt2img", self.generate),
            web.post(f"{base}/img2img", self.generate),
            web.get(f"{base}/progress", self.progress),
            web.post(f"{base}/interrupt", self.interrupt),
            web.get(f"{base}/options", self.options),
            web.post(f"{base}/options", self.set_options),
            web.get(f"{base}/sd-models", self.models),
        ])  # fmt: skip
        return app

    async def generate(self, request: web.Request) -> web.Response:
        """Answer when the pictures are there, or keep on drawing them for nobody."""
        image_to_image = request.path.endswith("img2img")
        try:
            wish = msgspec.json.decode(await request.read(), type=Wish)
        except msgspec.DecodeError as error:
            return web.json_response({"detail": [{"msg": str(error), "type": "value_error"}]}, status=422)
        if image_to_image and wish.init_images is None:
            return _error(404, "HTTPException", "Init image not found")
        loop = asyncio.get_running_loop()
        body = await loop.run_in_executor(self._threads, self._generate, wish, image_to_image)
        return web.Response(body=body, content_type="application/json")

    async def progress(self, _: web.Request) -> web.Response:
        """Tell how far the running request is."""
        state = self.state
        done = (state.job_no + state.sampling_step / max(state.sampling_steps, 1)) / max(state.job_count, 1)
        told = {"progress": min(done, 1.0), "eta_relative": 0.0, "current_image": None, "textinfo": None}
        return web.json_response(told | {"state": msgspec.to_builtins(state)})

    async def interrupt(self, _: web.Request) -> web.Response:
        """Stop the running request after its step."""
        self.state.interrupted = True
        return web.json_response({})

    async def options(self, _: web.Request) -> web.Response:
        """Tell the checkpoint."""
        return web.json_response({"samples_format": "png", "sd_model_checkpoint": self._checkpoint})

    async def set_options(self, request: web.Request) -> web.Response:
        """Load another checkpoint, if one is named."""
        options = await request.json()
        if "sd_model_checkpoint" in options:
            await asyncio.to_thread(self._load, str(options["sd_model_checkpoint"]))
        return web.json_response(None)

    async def models(self, _: web.Request) -> web.Response:
        """Tell the one that is loaded."""
        return web.json_response([{"title": self._checkpoint, "model_name": self._checkpoint}])

    def _load(self, checkpoint: str) -> None:
        with self._queue:
            self._take(checkpoint)

    def _take(self, checkpoint: str) -> None:
        if checkpoint != self._checkpoint:
            self._artist.load(checkpoint)
            self._checkpoint = checkpoint

    def _generate(self, wish: Wish, image_to_image: bool) -> bytes:
        with self._queue:
            self._take(str((wish.override_settings or {}).get("sd_model_checkpoint", self._checkpoint)))
            count = wish.n_iter * wish.batch_size
            self.state = State("scripts_img2img" if image_to_image else "scripts_txt2img", wish.n_iter)
            seed = 1 if wish.seed < 0 else wish.seed
            pictures = []
            for number in range(count):
                self.state.job_no = number // wish.batch_size
                pictures.append(self._draw(wish, seed + number))
                if self.state.interrupted:
                    break
            answer = _answer(wish, pictures, self._checkpoint, [seed + number for number in range(count)])
            self.state = State()
            self.finished += 1
        return answer

    def _draw(self, wish: Wish, seed: int) -> Picture:
        picture = self._pass((wish.width, wish.height), wish.steps, seed)
        if wish.enable_hr and not self.state.interrupted:
            picture = self._pass(wish.final(), wish.hr_second_pass_steps or wish.steps, seed)
        return picture

    def _pass(self, size: tuple[int, int], steps: int, seed: int) -> Picture:
        self.state.sampling_step, self.state.sampling_steps = 0, steps

        def tick() -> bool:
            self.state.sampling_step += 1
            self.stepped()
            return not self.state.interrupted

        return self._artist.draw(size, steps, seed, tick)


def _answer(wish: Wish, pictures: list[Picture], checkpoint: str, seeds: list[int]) -> bytes:
    """Return the answer with ``processed.js()`` in ``info``."""
    info = {
        "prompt": wish.prompt, "all_prompts": [wish.prompt] * len(seeds), "seed": seeds[0] if seeds else -1,
        "all_seeds": seeds, "width": wish.width, "height": wish.height, "cfg_scale": wish.cfg_scale,
        "steps": wish.steps, "batch_size": wish.batch_size, "sd_model_name": checkpoint,
        "denoising_strength": wish.denoising_strength, "index_of_first_image": 0, "version": "v1.10.1",
    }  # fmt: skip
    images = [base64.b64encode(png(picture)).decode() for picture in pictures] if wish.send_images else []
    echo = msgspec.to_builtins(wish) | {"init_images": None}
    return msgspec.json.encode(
        {"images": images, "parameters": echo, "info": msgspec.json.encode(info).decode()}
    )


def _error(status: int, kind: str, detail: str) -> web.Response:
    return web.json_response({"error": kind, "detail": detail, "body": "", "errors": ""}, status=status)
