"""Envoy before and behind the gate: streams, aborts, delays, faults, resets and retries keep the books.

    client ──▶ Envoy (retries) ──▶ gate ──▶ Envoy (faults) ──▶ llama.cpp

Faults are asked for with request headers, which the gate passes on as they are.
"""

import http.client
import json
import re
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from typing import Any, NamedTuple

import pytest

from joulegate.ledger.reader import LedgerReader

pytestmark = pytest.mark.e2e

CONFIG = """
[energy]
source = "fake"
[attribution]
settle = "1 s"
[[upstream]]
name = "llm"
url = "http://127.0.0.1:{behind}"
[[upstream]]
name = "closed"
url = "http://127.0.0.1:{closed}"
path = "/closed"
"""
WISH: dict[str, Any] = {"prompt": "The grid carries", "max_tokens": 6, "temperature": 0, "seed": 1}
LONG = 400
"""Tokens of an answer that nobody waits for."""
FAIL_FIRST, CUT = "x-test-fail-first", "x-test-cut"
DELAY, ABORT = "x-envoy-fault-delay-request", "x-envoy-fault-abort-request"
"""https://www.envoyproxy.io/docs/envoy/latest/configuration/http/http_filters/fault_filter"""


class Answer(NamedTuple):
    status: int
    body: bytes
    whole: bool


class Chain(NamedTuple):
    """Where a client can begin."""

    gate: Any
    front: str
    """Envoy before the gate."""
    direct: str
    """Envoy behind the gate."""
    llama: Any

    def ask(self, url: str, wish: dict[str, Any], path: str = "/v1/completions", **headers: str) -> Answer:
        with closing(send(url, wish, path, headers)) as connection:
            answer = connection.getresponse()
            try:
                return Answer(answer.status, answer.read(), whole=True)
            except http.client.IncompleteRead as cut:
                return Answer(answer.status, cut.partial, whole=False)

    def books(self, requests: int) -> tuple[Counter[str], int]:
        """Wait for so many settled requests; give all outcomes so far, and the tokens that came out."""
        self.gate.settled(requests)
        self.gate.check_books()
        outcomes = self.gate.sums("joulegate_requests_total", "outcome")
        return outcomes, self.gate.sums("joulegate_tokens_total", "direction")["output"]

    def generated(self) -> int:
        """Give the tokens that the engine says it has generated so far."""
        (line,) = re.findall(
            rb"(?m)^llamacpp:tokens_predicted_total (\d+)", fetch(f"{self.llama.url}/metrics")
        )
        return int(line)

    def busy(self) -> int:
        """Give how many requests the engine works on."""
        return sum(slot["is_processing"] for slot in json.loads(fetch(f"{self.llama.url}/slots")))


def send(url: str, wish: dict[str, Any], path: str, headers: dict[str, str]) -> http.client.HTTPConnection:
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=120)
    connection.request("POST", path, json.dumps(wish), {"Content-Type": "application/json", **headers})
    return connection


def fetch(url: str) -> bytes:
    host, _, path = url.removeprefix("http://").partition("/")
    with closing(http.client.HTTPConnection(host, timeout=60)) as connection:
        connection.request("GET", f"/{path}")
        return connection.getresponse().read()


@pytest.fixture(scope="module")
def chain(
    llama: Any, joulegate: Any, program: Callable[[str], str], free_port: Callable[[], int], process: Any,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Chain]:  # fmt: skip
    """The whole chain, for all tests of this file."""
    binary, folder = program("envoy"), tmp_path_factory.mktemp("envoy")
    front, behind, closed, admin = (free_port() for _ in range(4))
    with ExitStack() as stack:
        gate = stack.enter_context(joulegate(CONFIG.format(behind=behind, closed=closed)))
        config = folder / "envoy.json"
        config.write_text(json.dumps(envoy(front, behind, closed, admin, ports(gate.proxy, llama.url))))
        options = ["--concurrency", "1", "--use-dynamic-base-id", "--log-level", "warning"]
        command = [binary, "-c", str(config), *options]
        stack.enter_context(process(command, folder / "log", f"http://127.0.0.1:{admin}/ready"))
        yield Chain(gate, f"http://127.0.0.1:{front}", f"http://127.0.0.1:{behind}", llama)


def ports(*urls: str) -> list[int]:
    return [int(url.rpartition(":")[2]) for url in urls]


def envoy(front: int, behind: int, closed: int, admin: int, servers: list[int]) -> dict[str, Any]:
    """Give a configuration: a listener before the gate, one behind it, and one that closes at once."""
    retried = {"cluster": "gate", "timeout": "0s", "retry_policy": {"retry_on": "5xx", "num_retries": 2}}
    plain = {"cluster": "llama", "timeout": "0s"}
    cut = {**plain, "max_stream_duration": {"max_stream_duration": "1s"}}
    first = {"name": "x-envoy-attempt-count", "string_match": {"exact": "1"}}
    routes = [
        {**match({"name": FAIL_FIRST, "present_match": True}, first), "direct_response": {"status": 503}},
        {**match({"name": CUT, "present_match": True}), "route": cut},
        {**match(), "route": plain},
    ]
    nobody = typed("network.rbac", "RBAC", stat_prefix="closed", rules={"action": "ALLOW", "policies": {}})
    tcp = typed("network.tcp_proxy", "TcpProxy", stat_prefix="closed", cluster="llama")
    always = {"percentage": {"numerator": 100}}
    fault = typed(
        "http.fault", "HTTPFault", delay={"header_delay": {}, **always}, abort={"header_abort": {}, **always}
    )
    return {
        "admin": {"address": address(admin)},
        "static_resources": {
            "listeners": [
                listener("front", front, http_filter("front", [{**match(), "route": retried}])),
                listener("behind", behind, http_filter("behind", routes, fault)),
                listener("closed", closed, nobody, tcp),
            ],
            "clusters": [cluster(name, port) for name, port in zip(("gate", "llama"), servers, strict=True)],
        },
    }


def typed(name: str, kind: str, **config: Any) -> dict[str, Any]:
    url = f"type.googleapis.com/envoy.extensions.filters.{name}.v3.{kind}"
    return {"name": f"envoy.filters.{name}", "typed_config": {"@type": url, **config}}


def match(*headers: dict[str, Any]) -> dict[str, Any]:
    return {"match": {"prefix": "/", "headers": list(headers)}}


def http_filter(name: str, routes: list[dict[str, Any]], *filters: dict[str, Any]) -> dict[str, Any]:
    host = {
        "name": name,
        "domains": ["*"],
        "routes": routes,
        "include_request_attempt_count": name == "front",
    }
    return typed(
        "network.http_connection_manager", "HttpConnectionManager", stat_prefix=name,
        preserve_external_request_id=True, use_remote_address=True,
        internal_address_config={"cidr_ranges": [{"address_prefix": "127.0.0.0", "prefix_len": 8}]},
        route_config={"virtual_hosts": [host]}, http_filters=[*filters, typed("http.router", "Router")],
    )  # fmt: skip


def listener(name: str, port: int, *filters: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "address": address(port), "filter_chains": [{"filters": list(filters)}]}


def cluster(name: str, port: int) -> dict[str, Any]:
    ends = [{"endpoint": {"address": address(port)}}]
    return {
        "name": name,
        "connect_timeout": "5s",
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": ends}]},
    }


def address(port: int) -> dict[str, Any]:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def texts(stream: bytes) -> list[str]:
    """Give the pieces of text of a stream, after seeing that it is one."""
    *events, last, rest = stream.split(b"\n\n")
    assert (last, rest) == (b"data: [DONE]", b"")
    documents = [json.loads(event.removeprefix(b"data: ")) for event in events]
    assert all(document["choices"] for document in documents), "a usage chunk that nobody asked for"
    return [document["choices"][0]["text"] for document in documents]


def test_a_stream_is_that_of_a_direct_run_and_counted_as_the_engine_does(chain: Chain) -> None:
    """Through two Envoys and the gate: the same pieces of text, nothing added, tokens exact."""
    direct = texts(chain.ask(chain.direct, WISH | {"stream": True}).body)
    done, (_, tokens), before = chain.gate.requests(), chain.books(0), chain.generated()
    assert texts(chain.ask(chain.front, WISH | {"stream": True}).body) == direct
    outcomes, after = chain.books(done + 1)
    assert outcomes["ok"] == 1
    assert after - tokens == chain.generated() - before == WISH["max_tokens"]


def test_a_client_that_leaves_stops_the_engine(chain: Chain, eventually: Callable[..., Any]) -> None:
    """The abort passes both Envoys and the gate; tokens that nobody reported stay unknown."""
    done, (outcomes, tokens), before = chain.gate.requests(), chain.books(0), chain.generated()
    wish = WISH | {"stream": True, "max_tokens": LONG, "ignore_eos": True}
    connection = send(chain.front, wish, "/v1/completions", {})
    answer = connection.getresponse()
    assert answer.readline().startswith(b"data: ")
    assert chain.busy() == 1
    answer.close()
    connection.close()
    eventually(lambda: True if chain.busy() == 0 else None, "the engine stops")
    found, after = chain.books(done + 1)
    assert found - outcomes == Counter(cancelled=1)
    assert after == tokens
    assert chain.generated() - before < LONG // 2


def test_a_delay_is_in_the_figures(chain: Chain) -> None:
    """300 ms before the engine hears of the request are 300 ms until its first byte."""
    done = chain.gate.requests()
    headers = {DELAY: "300", "x-request-id": "delayed"}
    assert chain.ask(chain.front, WISH, **headers).status == 200
    chain.books(done + 1)
    view = chain.gate.json("/v1/requests/delayed")
    assert view["first_byte_seconds"] >= 0.3
    assert view["outcome"] == "ok"


def test_a_fault_of_the_proxy_behind_is_the_client_s_to_read(chain: Chain) -> None:
    """Envoy's own 503 goes through as it is, is an upstream's error, and has no tokens."""
    done, (outcomes, tokens) = chain.gate.requests(), chain.books(0)
    answer = chain.ask(chain.gate.proxy, WISH, **{ABORT: "503"})
    assert answer == Answer(503, b"fault filter abort", whole=True)
    assert chain.books(done + 1) == (outcomes + Counter(upstream_error=1), tokens)


def test_a_connection_that_closes_at_once_is_a_502(chain: Chain) -> None:
    """In the caller's dialect, and not sent again."""
    done, (outcomes, tokens) = chain.gate.requests(), chain.books(0)
    answer = chain.ask(chain.gate.proxy, WISH, "/closed/v1/completions")
    assert (answer.status, json.loads(answer.body)["error"]["code"]) == (502, "upstream_reset")
    assert chain.books(done + 1) == (outcomes + Counter(upstream_reset=1), tokens)


def test_an_answer_that_is_cut_is_seen_to_be_cut(chain: Chain) -> None:
    """The client gets what came and no end of it; no tokens were reported."""
    done, (outcomes, tokens) = chain.gate.requests(), chain.books(0)
    wish = WISH | {"stream": True, "max_tokens": LONG, "ignore_eos": True}
    answer = chain.ask(chain.gate.proxy, wish, **{CUT: "1"})
    assert (answer.status, answer.whole) == (200, False)
    assert answer.body.count(b'"text"') > 0
    found, after = chain.books(done + 1)
    assert found - outcomes == Counter(upstream_truncated=1)
    assert after == tokens


def test_a_retry_of_the_proxy_before_counts_its_tokens_once(chain: Chain) -> None:
    """The client asked once; the failed try is a request of its own without tokens."""
    done, (outcomes, tokens), before = chain.gate.requests(), chain.books(0), chain.generated()
    assert chain.ask(chain.front, WISH, **{FAIL_FIRST: "1"}).status == 200
    found, after = chain.books(done + 2)
    assert found - outcomes == Counter(upstream_error=1, ok=1)
    assert after - tokens == chain.generated() - before == WISH["max_tokens"]


def test_a_request_that_fails_in_every_try_costs_no_token(chain: Chain) -> None:
    """Envoy tries three times; each is in the books and in the ledger."""
    done, (outcomes, tokens), before = chain.gate.requests(), chain.books(0), chain.generated()
    assert chain.ask(chain.front, WISH, **{ABORT: "503"}).status == 503
    assert chain.books(done + 3) == (outcomes + Counter(upstream_error=3), tokens)
    assert chain.generated() == before
    with closing(LedgerReader.open(str(chain.gate.ledger))) as ledger:
        assert ledger.count() == done + 3
