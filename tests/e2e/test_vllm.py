"""vLLM itself on the CPU behind the gate, and guidellm as a client that knows nothing of it (``make vllm``).

The model is random, the engine is real: scheduler, batches, streams, usage, aborts, metrics.
"""

import http.client
import json
import re
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.e2e, pytest.mark.nightly]

PATIENCE = 600.0
"""Seconds that vLLM may take to be ready: 75 to 95 on an idle machine."""
REQUESTS = 12
CONFIG = """
[energy]
source = "fake"
[attribution]
settle = "1 s"
[[upstream]]
name = "llm"
url = "{url}"
"""
CHAT: dict[str, Any] = {"messages": [{"role": "user", "content": "Say hello."}], "temperature": 0, "seed": 1}
PROMPT: dict[str, Any] = {"prompt": "The capital of France is", "temperature": 0, "seed": 1}
LONG = 400
ATTEMPTS = 10
VOLATILE = re.compile(rb'"id":"[^"]*"|"created":\d+')


@dataclass(frozen=True)
class Vllm:
    """The running server."""

    url: str
    model: str = "llama-random"

    def tokens(self, sums: Callable[..., Counter[str]]) -> tuple[int, int]:
        """Give the prompt and output tokens that the engine has counted so far."""
        text = ask(self.url, "GET", "/metrics", None)[1]
        names = ("vllm:prompt_tokens_total", "vllm:generation_tokens_total")
        prompt, output = (sums(text, name)[""] for name in names)
        return prompt, output

    def running(self, sums: Callable[..., Counter[str]]) -> int:
        """Give how many requests the engine works on."""
        return sums(ask(self.url, "GET", "/metrics", None)[1], "vllm:num_requests_running")[""]


@pytest.fixture(scope="module")
def programs(root: Path) -> Path:
    """Where vLLM and guidellm are installed."""
    folder = root / ".venv-vllm" / "bin"
    if not (folder / "vllm").exists():
        pytest.skip("vLLM is not installed (make vllm)")
    return folder


@pytest.fixture(scope="module")
def vllm(
    root: Path, programs: Path, process: Any, free_port: Callable[[], int],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Vllm]:  # fmt: skip
    """vLLM with a random Llama."""
    port = free_port()
    script = str(root / "examples" / "servers" / "vllm_server.py")
    command = [str(programs / "python"), script, "--port", str(port), "--enable-per-request-metrics"]
    server, log = Vllm(f"http://127.0.0.1:{port}"), tmp_path_factory.mktemp("vllm") / "log"
    with process(command, log, f"{server.url}/v1/models", patience=PATIENCE):
        yield server


@pytest.fixture(scope="module")
def gate(vllm: Vllm, joulegate: Any) -> Iterator[Any]:
    """joulegate in front of vLLM."""
    with joulegate(CONFIG.format(url=vllm.url)) as running:
        yield running


def ask(url: str, method: str, path: str, wish: dict[str, Any] | None, **fields: str) -> tuple[int, bytes]:
    with closing(http.client.HTTPConnection(url.removeprefix("http://"), timeout=120)) as connection:
        connection.request(method, path, json.dumps(wish), {"Content-Type": "application/json", **fields})
        answer = connection.getresponse()
        return answer.status, answer.read()


def recorded(gate: Any, done: int) -> tuple[int, int]:
    """Wait for so many settled requests; give the prompt and output tokens in metrics and ledger."""
    gate.settled(done)
    gate.check_books()
    tokens = gate.tokens()
    return tokens.prompt, tokens.output


def run_guidellm(programs: Path, root: Path, url: str, model: str, folder: Path) -> dict[str, Any]:
    """Load a server with guidellm; give its report of the run."""
    report = folder / "guidellm.json"
    command = [
        str(programs / "guidellm"), "run", "--disable-console",
        "--backend", f"kind=openai_http,target={url},model={model}",
        "--profile", "kind=concurrent,streams=2", "--constraint", f"kind=max_requests,count={REQUESTS}",
        "--tokenizer", f"kind=huggingface_auto,model={root / '.cache' / 'llama-random'}",
        "--data", "kind=synthetic_text,prompt_tokens=40,output_tokens=12",
        "--output", f"kind=json,path={report}",
    ]  # fmt: skip
    subprocess.run(
        command, env={"HF_HUB_OFFLINE": "1", "HOME": str(folder)}, cwd=folder, check=True, timeout=300
    )
    (benchmark,) = json.loads(report.read_text())["benchmarks"]
    metrics: dict[str, Any] = benchmark["metrics"]
    assert metrics["request_totals"]["successful"] == REQUESTS
    return metrics


def test_guidellm_counts_what_joulegate_counts(
    vllm: Vllm, gate: Any, programs: Path, root: Path, tmp_path: Path, sums: Any, eventually: Any
) -> None:
    """Its report, the metrics, the ledger and vLLM's own counters name the same tokens."""
    before, counted = recorded(gate, 0), vllm.tokens(sums)
    report = run_guidellm(programs, root, gate.proxy, vllm.model, tmp_path)
    eventually(lambda: served(gate), "all requests are settled")
    seen = tokens_of(report)
    assert difference(recorded(gate, 0), before) == seen
    assert difference(vllm.tokens(sums), counted) == seen
    print(f"\nguidellm and joulegate on vLLM: {seen[0]} tokens in, {seen[1]} out, {REQUESTS} requests")


def test_guidellm_counts_what_joulegate_counts_on_llamacpp(
    llama: Any, joulegate: Any, vllm: Vllm, programs: Path, root: Path, tmp_path: Path, eventually: Any
) -> None:
    """The same with a trained model, whose tokenizer guidellm does not know: it takes the server's usage."""
    with joulegate(CONFIG.format(url=llama.url)) as running:
        report = run_guidellm(programs, root, running.proxy, llama.model, tmp_path)
        eventually(lambda: served(running), "all requests are settled")
        seen = tokens_of(report)
        assert recorded(running, 0) == seen
        print(f"\nguidellm and joulegate on llama.cpp: {seen[0]} tokens in, {seen[1]} out")


def served(gate: Any) -> bool | None:
    """Say whether guidellm's requests, the first chats of a gate, are all settled."""
    return True if gate.sums("joulegate_requests_total", "task")["chat"] == REQUESTS else None


def tokens_of(report: dict[str, Any]) -> tuple[int, int]:
    sums = (report[f"{side}_token_count"]["successful"]["total_sum"] for side in ("prompt", "output"))
    prompt, output = (int(total) for total in sums)
    return prompt, output


def difference(after: tuple[int, int], before: tuple[int, int]) -> tuple[int, int]:
    return after[0] - before[0], after[1] - before[1]


@pytest.mark.parametrize(
    ("path", "wish"),
    [
        ("/v1/chat/completions", CHAT | {"max_tokens": 5}),
        ("/v1/chat/completions", CHAT | {"max_tokens": 5, "stream": True}),
        ("/v1/chat/completions", CHAT | {"max_tokens": 5, "n": 3, "temperature": 1, "stream": True}),
        (
            "/v1/chat/completions",
            CHAT | {"max_tokens": 5, "stream": True, "stream_options": {"include_usage": False}},
        ),
        ("/v1/completions", PROMPT | {"max_tokens": 4}),
        ("/v1/completions", PROMPT | {"prompt": ["One", "Twenty"], "max_tokens": 3}),
        ("/v1/completions", PROMPT | {"max_tokens": 4, "stream": True}),
        ("/v1/responses", {"input": "Say hello.", "max_output_tokens": 6}),
        ("/v1/responses", {"input": "Say hello.", "max_output_tokens": 6, "stream": True}),
        ("/v1/messages", CHAT | {"max_tokens": 5}),
        ("/v1/messages", CHAT | {"max_tokens": 5, "stream": True}),
        ("/invocations", CHAT | {"max_tokens": 5}),
    ],
)
def test_each_route_is_counted_as_the_engine_counts(
    path: str, wish: dict[str, Any], vllm: Vllm, gate: Any, sums: Any
) -> None:
    """Whether or not the client asks for usage. The engine counts a prompt once for each choice of it."""
    done, before, counted = gate.requests(), recorded(gate, 0), vllm.tokens(sums)
    status, body = ask(gate.proxy, "POST", path, wish | {"model": vllm.model})
    assert status == 200, body
    prompt, output = difference(recorded(gate, done + 1), before)
    assert (prompt * wish.get("n", 1), output) == difference(vllm.tokens(sums), counted) != (0, 0)


@pytest.mark.parametrize("options", [{}, {"stream_options": {"include_usage": False}}])
@pytest.mark.parametrize(
    ("path", "wish"), [("/v1/chat/completions", CHAT), ("/v1/completions", PROMPT)], ids=["chat", "text"]
)
def test_a_stream_is_byte_for_byte_that_of_a_direct_run(
    path: str, wish: dict[str, Any], options: dict[str, Any], vllm: Vllm, gate: Any
) -> None:
    """But for what differs in each run: the id and the time. Usage is asked for and taken out again.

    A busy vLLM puts several tokens into one event now and then, so runs are compared until two agree.
    """
    wish = wish | {"model": vllm.model, "max_tokens": 5, "stream": True, **options}

    def run(url: str) -> bytes:
        return VOLATILE.sub(b"", ask(url, "POST", path, wish)[1])

    done = gate.requests()
    tries = next(number for number in range(1, ATTEMPTS) if run(vllm.url) == run(gate.proxy))
    recorded(gate, done + tries)


def test_a_client_that_leaves_stops_the_engine(
    vllm: Vllm, gate: Any, sums: Any, eventually: Callable[..., Any]
) -> None:
    """vLLM drops the request; what nobody reported stays unknown, the request itself is in the books."""
    done, before, (_, counted) = gate.requests(), recorded(gate, 0), vllm.tokens(sums)
    outcomes = gate.sums("joulegate_requests_total", "outcome")
    wish = PROMPT | {"model": vllm.model, "max_tokens": LONG, "ignore_eos": True, "stream": True}
    connection = http.client.HTTPConnection(gate.proxy.removeprefix("http://"), timeout=120)
    connection.request("POST", "/v1/completions", json.dumps(wish), {"Content-Type": "application/json"})
    answer = connection.getresponse()
    assert answer.readline().startswith(b"data: ")
    answer.close()
    connection.close()
    eventually(lambda: None if vllm.running(sums) else True, "vLLM stops")
    assert recorded(gate, done + 1) == before
    assert gate.sums("joulegate_requests_total", "outcome") - outcomes == Counter(cancelled=1)
    assert vllm.tokens(sums)[1] - counted < LONG // 2


@pytest.mark.parametrize(
    ("path", "wish", "status"),
    [
        ("/v1/embeddings", {"input": "a"}, 404),
        ("/v1/chat/completions", CHAT | {"max_tokens": 9000}, 400),
        ("/v1/chat/completions", CHAT | {"model": "nobody"}, 404),
    ],
)
def test_what_vllm_refuses_is_refused_as_it_says(
    path: str, wish: dict[str, Any], status: int, vllm: Vllm, gate: Any
) -> None:
    """Its own words reach the client, and no token is counted."""
    done, before = gate.requests(), recorded(gate, 0)
    wish = {"model": vllm.model, **wish}
    answer = ask(gate.proxy, "POST", path, wish)
    assert answer == ask(vllm.url, "POST", path, wish)
    assert answer[0] == status
    assert recorded(gate, done + 1) == before
