"""Runs the server as a process of its own."""

import argparse

from aiohttp import web

from joulegate.testing.comfyui.server import Server


def main() -> None:
    """Serve until SIGTERM or Ctrl-C."""
    parser = argparse.ArgumentParser(prog="python -m joulegate.testing.comfyui")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8188)
    parser.add_argument("--no-jobs-api", action="store_true", help="speak as servers before 2025 did")
    arguments = parser.parse_args()

    async def application() -> web.Application:
        return Server(jobs_api=not arguments.no_jobs_api).application()

    web.run_app(application(), host=arguments.host, port=arguments.port, print=None)


main()
