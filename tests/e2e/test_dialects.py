"""One sentence in four dialects, each by a client that people use: the same work and tokens, the books whole.

OpenAI's, Anthropic's and llama.cpp's own are spoken by one llama.cpp server; Ollama's by a stand-in that has
its text from the same server. All four give the model the same prompt: the server's template makes it of the
messages, and the native route gets what that template makes. What is not the same is the time each takes, so
that their energies are not compared but added up.
"""

import json
import sys
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anthropic
import ollama
import openai
import pytest

from joulegate.ledger.reader import LedgerReader
from joulegate.model import Outcome, RequestRecord, Task, WorkClass
from joulegate.testing.nvml import Control, Gpu

pytestmark = pytest.mark.e2e

TOKENS = 12
MESSAGES: Any = [{"role": "user", "content": "What is the difference between power and energy?"}]
CHOICES = {"temperature": 0, "seed": 1}
CONFIG = """
[attribution]
settle = "2 s"
[[upstream]]
name = "llamacpp"
url = "{llama}"
gpus = [0]
task = "question-answering"
[[upstream]]
name = "ollama"
url = "{ollama}"
path = "/api"
gpus = [0]
task = "question-answering"
"""


@dataclass(frozen=True)
class Bench:
    """Where the clients go."""

    proxy: str
    llama: str
    model: str


Speak = Callable[[Bench, str, bool], str]


def in_openai(bench: Bench, name: str, stream: bool) -> str:
    headers = {"X-Request-Id": name}
    with openai.OpenAI(base_url=f"{bench.proxy}/v1", api_key="none", default_headers=headers) as client:
        made = client.chat.completions.create(
            model=bench.model, messages=MESSAGES, max_tokens=TOKENS, stream=stream, **CHOICES
        )
        if stream:
            return "".join(chunk.choices[0].delta.content or "" for chunk in made)
        return made.choices[0].message.content or ""


def in_anthropic(bench: Bench, name: str, stream: bool) -> str:
    headers = {"X-Request-Id": name}
    with anthropic.Anthropic(base_url=bench.proxy, api_key="none", default_headers=headers) as client:
        asked: Any = {"model": bench.model, "messages": MESSAGES, "max_tokens": TOKENS, "extra_body": CHOICES}
        if stream:
            with client.messages.stream(**asked) as made:
                return "".join(made.text_stream)
        return "".join(
            block.text for block in client.messages.create(**asked).content if block.type == "text"
        )


def in_llamacpp(bench: Bench, name: str, stream: bool) -> str:
    prompt = json.loads(post(f"{bench.llama}/apply-template", {"messages": MESSAGES}, name))["prompt"]
    body = {"model": bench.model, "prompt": prompt, "n_predict": TOKENS, "stream": stream, **CHOICES}
    answer = post(f"{bench.proxy}/completion", body, name)
    if stream:
        events = [json.loads(line[6:]) for line in answer.splitlines() if line.startswith(b"data: ")]
        return "".join(event["content"] for event in events)
    return str(json.loads(answer)["content"])


def in_ollama(bench: Bench, name: str, stream: bool) -> str:
    options = {"num_predict": TOKENS, **CHOICES}
    with ollama.Client(host=bench.proxy, headers={"X-Request-Id": name}) as client:
        made = client.chat(model=bench.model, messages=MESSAGES, options=options, stream=stream)
        return "".join(part.message.content or "" for part in (made if stream else [made]))


DIALECTS: dict[str, Speak] = {
    "openai": in_openai,
    "anthropic": in_anthropic,
    "llamacpp": in_llamacpp,
    "ollama": in_ollama,
}


def post(url: str, body: dict[str, Any], name: str) -> bytes:
    headers = {"Content-Type": "application/json", "X-Request-Id": name}
    request = urllib.request.Request(url, json.dumps(body).encode(), headers)  # noqa: S310 (loopback only)
    with urllib.request.urlopen(request, timeout=120) as answer:  # noqa: S310
        return bytes(answer.read())


@pytest.fixture
def stand_in(llama: Any, process: Any, free_port: Callable[[], int], tmp_path: Path) -> Iterator[str]:
    """Ollama's routes in front of the same model, and a model of its that is elsewhere."""
    url = f"http://127.0.0.1:{free_port()}"
    command = [
        sys.executable, "-m", "joulegate.testing.ollama", "--upstream", llama.url, "--model", llama.model,
        "--remote", "mine", "--port", url.rpartition(":")[2],
    ]  # fmt: skip
    with process(command, tmp_path / "ollama.log", url):
        yield url


def test_one_sentence_in_four_dialects(
    llama: Any, stand_in: str, joulegate: Any, library: Path, tmp_path: Path
) -> None:
    """Whole and streamed: same task, class of work, model, tokens and text; the books balance."""
    control = Control(tmp_path / "gpus", [Gpu("GPU-0", watts=0)])
    first = control.counter(0)
    config = CONFIG.format(llama=llama.url, ollama=stand_in)
    names = [f"{dialect}-{form}" for dialect in DIALECTS for form in ("whole", "streamed")]
    with joulegate(config, env=control.environment(library)) as running:
        bench = Bench(running.proxy, llama.url, llama.model)
        with control.follow(0, [llama.pid], idle_watts=60, watts_per_core=200):
            texts = {name: DIALECTS[dialect](bench, name, form == "streamed")
                     for name in names for dialect, form in [name.split("-")]}  # fmt: skip
            with ollama.Client(host=running.proxy, headers={"X-Request-Id": "load"}) as client:
                assert client.generate(model=llama.model).done_reason == "load"
            in_ollama(Bench(running.proxy, llama.url, "mine"), "elsewhere", stream=False)
        control.power(0, 0)
        drawn = control.counter(0) - first
        status = running.settled(len(names))
    (device,) = status["devices"]
    unattributed = sum(energy for _, energy in device["unattributed"])
    assert device["measured"] == drawn == device["requests"] + device["idle"] + unattributed
    assert len(set(texts.values())) == 1, texts
    with closing(LedgerReader.open(str(running.ledger))) as ledger:
        records = {name: ledger.find(name) for name in [*names, "load", "elsewhere"]}
        assert ledger.count() == len(records)
    assert {_work(records[name]) for name in names} == {
        (Task.QUESTION_ANSWERING, WorkClass.INFERENCE, llama.model, Outcome.OK, *_tokens(records[names[0]]))
    }
    assert _tokens(records[names[0]])[1] == TOKENS
    assert all((record.settled.energy or 0) > 0 for name in names if (record := records[name]))
    assert sum(record.settled.energy or 0 for record in records.values() if record) == device["requests"]
    loaded, elsewhere = records["load"], records["elsewhere"]
    assert loaded
    assert loaded.work is WorkClass.MODEL_LOAD
    assert elsewhere
    assert (elsewhere.work, elsewhere.settled.energy) == (WorkClass.REMOTE, 0)
    assert _tokens(elsewhere) == _tokens(records[names[0]])


def _work(record: RequestRecord | None) -> tuple[object, ...]:
    assert record
    return record.task, record.work, record.model, record.outcome, *_tokens(record)


def _tokens(record: RequestRecord | None) -> tuple[int, int]:
    assert record
    prompt, completion = record.facts.prompt_tokens, record.facts.completion_tokens
    assert prompt
    assert completion
    return prompt.value, completion.value
