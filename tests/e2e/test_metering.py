"""A truth table: what joulegate records of each of llama.cpp's routes, against the engine's own counters.

``llamacpp:prompt_tokens_total`` counts the prompt tokens that were worked on, ``prompt_tokens_cached_total``
those that were found in the cache, ``tokens_predicted_total`` the tokens that came out.
"""

import http.client
import json
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
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
url = "{url}"
"""
PROMPT = "The grid carries power to every house"
TEXT: dict[str, Any] = {"prompt": PROMPT, "max_tokens": 5, "temperature": 0, "seed": 1}
CHAT: dict[str, Any] = {
    "messages": [{"role": "user", "content": "Say hello."}], "max_tokens": 5, "temperature": 0, "seed": 1
}  # fmt: skip
NATIVE: dict[str, Any] = {"prompt": PROMPT, "n_predict": 5, "temperature": 0, "seed": 1}
ANSWERED: dict[str, Any] = {"input": "Say hello.", "max_output_tokens": 5}
STREAM = {"stream": True}
ASK = STREAM | {"stream_options": {"include_usage": True}}
NO_CACHE = {"cache_prompt": False}
ROUTES: dict[str, tuple[str, dict[str, Any]]] = {
    "text": ("/v1/completions", TEXT),
    "text again, cached": ("/v1/completions", TEXT),
    "text, no cache": ("/v1/completions", TEXT | NO_CACHE),
    "text stream": ("/v1/completions", TEXT | STREAM),
    "text stream with usage": ("/v1/completions", TEXT | ASK),
    "text, several prompts": ("/v1/completions", TEXT | {"prompt": [PROMPT, "A short one"]}),
    "text stream, several prompts": ("/v1/completions", TEXT | STREAM | {"prompt": [PROMPT, "A short one"]}),
    "text, two choices": ("/v1/completions", TEXT | {"n": 2}),
    "text stream, two choices": ("/v1/completions", TEXT | STREAM | {"n": 2}),
    "chat": ("/v1/chat/completions", CHAT),
    "chat without /v1": ("/chat/completions", CHAT),
    "chat stream": ("/v1/chat/completions", CHAT | STREAM),
    "chat stream with usage": ("/v1/chat/completions", CHAT | ASK),
    "chat, two choices": ("/v1/chat/completions", CHAT | {"n": 2}),
    "chat stream, two choices": ("/v1/chat/completions", CHAT | STREAM | {"n": 2}),
    "responses": ("/v1/responses", ANSWERED),
    "responses stream": ("/v1/responses", ANSWERED | STREAM),
    "messages": ("/v1/messages", CHAT),
    "messages stream": ("/v1/messages", CHAT | STREAM),
    "native": ("/completion", NATIVE),
    "native stream": ("/completion", NATIVE | STREAM),
    "native, several prompts": ("/completion", NATIVE | {"prompt": [PROMPT, "A short one"]}),
    "native, the other name": ("/completions", NATIVE),
    "tokenize": ("/tokenize", {"content": PROMPT}),
    "chat template": ("/apply-template", CHAT),
    "embeddings, refused": ("/v1/embeddings", {"input": PROMPT}),
    "infill, refused": ("/infill", {"input_prefix": "a", "input_suffix": "b"}),
    "no chat at all": ("/v1/chat/completions", CHAT | {"messages": "no"}),
}


UNTOLD = {"text, several prompts"}
"""llama.cpp's usage is that of the first prompt: how much there was to read is not known."""


class Tokens(NamedTuple):
    """Counts so far, or the difference of two of them."""

    worked: int
    cached: int
    output: int

    def since(self, before: "Tokens") -> "Tokens":
        return Tokens(*(now - then for now, then in zip(self, before, strict=True)))


class Table(NamedTuple):
    """The gate, and the two who count."""

    gate: Any
    llama: Any
    sums: Callable[..., Any]

    def engine(self) -> Tokens:
        """Give what llama.cpp counts."""
        _, text = ask(self.llama.url, "GET", "/metrics", None)
        names = ("prompt_tokens_total", "prompt_tokens_cached_total", "tokens_predicted_total")
        return Tokens(*(self.sums(text, f"llamacpp:{name}")[""] for name in names))

    def of(self, id_: str) -> Tokens:
        """Give what the ledger has of one request; what it does not know is 0 here."""
        with closing(LedgerReader.open(str(self.gate.ledger))) as ledger:
            record = ledger.find(id_)
        assert record
        facts = record.facts
        counts = facts.prompt_tokens, facts.cached_prompt_tokens, facts.completion_tokens
        prompt, cached, output = (fact.value if fact else 0 for fact in counts)
        return Tokens(prompt - cached, cached, output)

    def recorded(self, requests: int) -> Tokens:
        """Wait for so many requests in the ledger; give what it has of them."""
        self.gate.booked(requests)
        self.gate.check_books()
        tokens = self.gate.tokens()
        return Tokens(tokens.prompt - tokens.cached, tokens.cached, tokens.output)


@pytest.fixture(scope="module")
def table(llama: Any, joulegate: Any, sums: Any) -> Iterator[Table]:
    """A gate for all tests of this file."""
    with joulegate(CONFIG.format(url=llama.url)) as gate:
        yield Table(gate, llama, sums)


def send(
    url: str, method: str, path: str, wish: dict[str, Any] | None, **fields: str
) -> http.client.HTTPConnection:
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=120)
    connection.request(method, path, json.dumps(wish), {"Content-Type": "application/json", **fields})
    return connection


def ask(url: str, method: str, path: str, wish: dict[str, Any] | None, **fields: str) -> tuple[int, bytes]:
    with closing(send(url, method, path, wish, **fields)) as connection:
        answer = connection.getresponse()
        return answer.status, answer.read()


def test_every_route_is_recorded_as_the_engine_counts(table: Table) -> None:
    """One after the other: tokens worked on, found in the cache, and put out."""
    done, counted = table.gate.ledger_rows(), {}
    for name, (path, wish) in ROUTES.items():
        before = table.engine()
        ask(table.gate.proxy, "POST", path, wish, **{"X-Request-Id": slug(name)})
        counted[name] = table.engine().since(before)
    table.gate.booked(done + len(ROUTES))
    recorded = {name: table.of(slug(name)) for name in ROUTES}
    for name in ROUTES:
        print(f"{name:28} {tuple(counted[name])} {tuple(recorded[name])}")
    told = {
        name: Tokens(0, 0, tokens.output) if name in UNTOLD else tokens for name, tokens in counted.items()
    }
    assert recorded == told


def slug(name: str) -> str:
    """Give a request id."""
    return "".join(character if character.isalnum() else "-" for character in name)


def test_a_crowd_of_routes_adds_up(table: Table) -> None:
    """All at once, in one batch, with the cache in between: the sums are the same."""
    chosen = [route for name, route in ROUTES.items() if name not in UNTOLD]
    done, before, counted = table.gate.ledger_rows(), table.recorded(0), table.engine()
    with ThreadPoolExecutor(6) as clients:
        list(clients.map(lambda route: ask(table.gate.proxy, "POST", *route), chosen))
    assert table.recorded(done + len(chosen)).since(before) == table.engine().since(counted)


def test_an_answer_that_nobody_waits_for_has_tokens_that_nobody_tells(
    table: Table, eventually: Callable[..., Any]
) -> None:
    """The engine counts what it made until it stopped; no usage came, so joulegate records none."""
    done, before, counted = table.gate.ledger_rows(), table.recorded(0), table.engine()
    outcomes = table.gate.sums("joulegate_requests_total", "outcome")
    wish = TEXT | STREAM | {"max_tokens": 400, "ignore_eos": True}
    with (
        closing(send(table.gate.proxy, "POST", "/v1/completions", wish)) as connection,
        closing(connection.getresponse()) as answer,
    ):
        assert answer.readline().startswith(b"data: ")
    eventually(lambda: table.engine().output > counted.output or None, "the engine stops")
    assert table.recorded(done + 1) == before
    assert table.gate.sums("joulegate_requests_total", "outcome") - outcomes == Counter(cancelled=1)
    assert table.engine().since(counted).output < 200
