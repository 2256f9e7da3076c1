"""Every query of the board and of the rules, on a real Prometheus that scrapes the real exporter."""

import json
import math
import socket
import subprocess
import threading
import urllib.error
import urllib.parse
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import msgspec
import pytest

from joulegate.model import Fact, Task, TaskFacts
from joulegate.testing.records import STATUS, record
from joulegate.units import Microjoules
from joulegate_exporters.prometheus import Plugin

pytestmark = pytest.mark.e2e

SCRAPES = 6
CONFIG = """
global: {{scrape_interval: 1s, evaluation_interval: 1s}}
rule_files: [{rules}/*.yml]
scrape_configs:
  - job_name: joulegate
    static_configs: [{{targets: ['127.0.0.1:{port}']}}]
"""


class Meter:
    """A stand-in for the meter: before each scrape a text and an image request are settled."""

    def __init__(self):
        self.plugin = Plugin()
        self.lock = threading.Condition()
        self.scrapes = 0

    def page(self, accept):
        with self.lock:
            self.scrapes += 1
            self.plugin.settled(record(energy=20_000_000))
            facts = TaskFacts(images=Fact(1))
            self.plugin.settled(record(3_000_000_000, task=Task.IMAGE_GENERATION, facts=facts))
            page = self.plugin.render(self.plugin.freeze(self._status()), accept)
            self.lock.notify_all()
            return page

    def wait(self, scrapes):
        with self.lock:
            assert self.lock.wait_for(lambda: self.scrapes >= scrapes, timeout=60)

    def _status(self):
        energy = 3_020_000_000 * self.scrapes
        device = msgspec.structs.replace(
            STATUS.devices[0],
            measured=Microjoules(3 * energy),
            requests=Microjoules(energy),
            idle=Microjoules(energy),
            unattributed=(("foreign", Microjoules(energy)),),
        )
        budgets = tuple(msgspec.structs.replace(b, total=energy, used=energy) for b in STATUS.budgets)
        return msgspec.structs.replace(STATUS, devices=(device,), budgets=budgets)


@pytest.fixture(scope="module")
def meter():
    """The stand-in, served on a free port of loopback."""
    meter = Meter()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            page, content_type = meter.page(self.headers.get("Accept", ""))
            self.send_response(200)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(page)))
            self.end_headers()
            self.wfile.write(page)

        def log_message(self, *args):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        meter.port = server.server_address[1]
        yield meter
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def ask(meter, grafana, program, tmp_path_factory):
    """Ask a Prometheus that has scraped the stand-in a few times."""
    folder = tmp_path_factory.mktemp("prometheus")
    (folder / "prometheus.yml").write_text(CONFIG.format(rules=grafana / "rules", port=meter.port))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    command = [
        program("prometheus"),
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address={address}",
    ]
    with (folder / "log").open("wb") as log, subprocess.Popen(command, stdout=log, stderr=log) as prometheus:
        meter.wait(SCRAPES)
        yield lambda path, **query: get(f"http://{address}/api/v1/{path}?{urllib.parse.urlencode(query)}")
        prometheus.terminate()


def get(url):
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310 (loopback)
            return json.load(answer)["data"]
    except urllib.error.HTTPError as error:
        pytest.fail(f"{url}: {error.read().decode()}")


def test_every_query_of_the_board_returns_data(ask, board_queries):
    """No panel of the board stays empty, and every value is finite."""
    for title, query in board_queries:
        result = ask("query", query=query)["result"]
        assert result, f"{title}: {query}"
        assert all(math.isfinite(float(one["value"][1])) for one in result), f"{title}: {query}"


def test_figures_of_the_board(ask, board_queries):
    """Energy per request is the energy of the requests, text and image apart."""
    (query,) = [query for title, query in board_queries if title == "Energy per request"]
    result = ask("query", query=query)["result"]
    found = {one["metric"]["task"]: float(one["value"][1]) for one in result}
    assert found == pytest.approx({"chat": 20, "image-generation": 3000})
    (query,) = [query for title, query in board_queries if title == "1,000 requests: text against image"]
    found = {one["metric"]["kind"]: float(one["value"][1]) for one in ask("query", query=query)["result"]}
    assert found == pytest.approx({"text": 20 / 3.6, "image": 3000 / 3.6})


def test_variables_have_values(ask, board):
    """Every choice of the board has something to choose from."""
    for name in ("job", "instance", "task", "model"):
        assert ask(f"label/{name}/values", **{"match[]": '{__name__=~"joulegate_.*"}'}), name


def test_every_rule_is_evaluated(ask, meter):
    """Prometheus evaluates every rule without an error."""
    meter.wait(SCRAPES + 3)
    groups = ask("rules")["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    assert len(rules) > 40
    assert [rule for rule in rules if rule["health"] == "err"] == []


def test_scrapes_are_openmetrics_without_errors(ask):
    """Prometheus takes every scrape."""
    (target,) = ask("targets")["activeTargets"]
    assert (target["health"], target["lastError"]) == ("up", "")
