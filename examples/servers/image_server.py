"""Serve a small trained diffusion model through the OpenAI images route, on any CPU.

    python examples/servers/image_server.py --port 8003

The model draws terrain (``adaptive-terrain-diffusion``, MIT; install it with ``--no-deps`` beside
``onnxruntime``). It knows no prompts: the prompt is only the seed. One image at a time, first come, first
served, as most image servers work.
"""

import argparse
import asyncio
import base64
import hashlib
import os
import struct
import time
import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from aiohttp import web
from terrain_diffusion import TerrainGenerator

MODEL = "terrain-diffusion"
SIDES = (64, 512)
"""Smallest and largest side of an image in pixels."""


class Painter:
    """Draws images in one worker thread."""

    def __init__(self) -> None:
        self._generator = TerrainGenerator()
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="painter")

    async def paint(self, request: dict[str, object], sides: tuple[int, int], count: int) -> list[bytes]:
        """Return the images as PNG files."""
        seed = int.from_bytes(hashlib.sha256(str(request.get("prompt")).encode()).digest()[:4], "big")
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._worker, self._paint, sides, count, seed)

    def _paint(self, sides: tuple[int, int], count: int, seed: int) -> list[bytes]:
        width, height = sides
        terrains = self._generator.generate(count, shape=(height, width), seed=seed)
        return [png(relief(terrain)) for terrain in terrains]


def relief(height: np.ndarray) -> np.ndarray:
    """Return a shaded relief of a height field as 8-bit RGB."""
    dy, dx = np.gradient(height * 14)
    light = np.clip(0.55 + (dx - dy) / (2 * np.sqrt(1 + dx * dx + dy * dy)), 0, 1)
    level = np.clip(height / max(float(height.max()), 1e-6), 0, 1)[..., None]
    low, high = np.array([62, 96, 58.0]), np.array([236, 232, 226.0])
    return ((low + (high - low) * level) * light[..., None]).clip(0, 255).astype(np.uint8)


def png(pixels: np.ndarray) -> bytes:
    """Return 8-bit RGB pixels as a PNG file (W3C PNG specification, third edition, section 5)."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        body = kind + content
        return struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))

    height, width, _ = pixels.shape
    rows = b"".join(b"\0" + row.tobytes() for row in pixels)
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


def sides_of(size: object) -> tuple[int, int]:
    """Return width and height of a size such as ``256x256``."""
    width, _, height = str(size or "256x256").partition("x")
    sides = int(width), int(height)
    if not all(SIDES[0] <= side <= SIDES[1] for side in sides):
        raise ValueError(f"size: sides from {SIDES[0]} to {SIDES[1]} pixels, got {size}")
    return sides


async def generate(request: web.Request) -> web.Response:
    """Answer ``POST /v1/images/generations``."""
    try:
        wish = await request.json()
        sides, count = sides_of(wish.get("size")), int(wish.get("n") or 1)
    except (ValueError, AttributeError) as error:
        return web.json_response(
            {"error": {"message": str(error), "type": "invalid_request_error"}}, status=400
        )
    images = await request.app[PAINTER].paint(wish, sides, count)
    parts = [{"b64_json": base64.b64encode(image).decode()} for image in images]
    return web.json_response({"created": int(time.time()), "data": parts})


async def models(_: web.Request) -> web.Response:
    """Answer ``GET /v1/models``."""
    return web.json_response(
        {"object": "list", "data": [{"id": MODEL, "object": "model", "owned_by": "local"}]}
    )


PAINTER = web.AppKey("painter", Painter)


def main() -> None:
    """Serve until SIGTERM or Ctrl-C."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8003)
    parser.add_argument(
        "--cpus", type=int, default=max(1, (os.cpu_count() or 1) // 2), help="processors to use"
    )
    arguments = parser.parse_args()
    # onnxruntime starts a thread for each processor that it may use.
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: arguments.cpus])
    app = web.Application()
    app[PAINTER] = Painter()
    app.add_routes([web.post("/v1/images/generations", generate), web.get("/v1/models", models)])
    web.run_app(app, host=arguments.host, port=arguments.port, print=lambda text: print(text, flush=True))


if __name__ == "__main__":
    main()
