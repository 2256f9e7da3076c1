"""Runs the stand-in as a process of its own."""

import argparse
import asyncio
import signal

from joulegate.testing.ollama.server import OllamaServer


async def serve(arguments: argparse.Namespace) -> None:
    """Serve until SIGTERM or Ctrl-C."""
    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    server = OllamaServer(arguments.upstream, arguments.model, remote=arguments.remote, port=arguments.port)
    async with server:
        await stopped.wait()


def main() -> None:
    """Read the command line and serve."""
    parser = argparse.ArgumentParser(prog="python -m joulegate.testing.ollama")
    parser.add_argument("--upstream", required=True, help="URL of a llama.cpp server")
    parser.add_argument("--model", default="gemma3:270m", help="name of the model")
    parser.add_argument("--remote", help="name of a model that is said to be elsewhere")
    parser.add_argument("--port", type=int, default=11434)
    asyncio.run(serve(parser.parse_args()))


main()
