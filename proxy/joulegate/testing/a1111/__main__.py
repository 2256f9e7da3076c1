"""Runs the server as a process of its own."""

import argparse

from aiohttp import web

from joulegate.testing.a1111.drawing import Denoiser, Terrain
from joulegate.testing.a1111.server import Server


def main() -> None:
    """Serve until SIGTERM or Ctrl-C."""
    parser = argparse.ArgumentParser(prog="python -m joulegate.testing.a1111")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=7860)
    parser.add_argument("--terrain", action="store_true", help="draw with adaptive-terrain-diffusion")
    arguments = parser.parse_args()
    server = Server(Terrain(), "terrain-diffusion") if arguments.terrain else Server(Denoiser())
    web.run_app(server.application(), host=arguments.host, port=arguments.port, print=None)


main()
