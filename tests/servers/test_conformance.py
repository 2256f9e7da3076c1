"""The folder of servers: each is recognised by one file, read without errors, stopped as it should be."""

import json
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulegate import plugins
from joulegate.gateway.servers.recognition import MOST_MODELS, every, in_order, recognise
from joulegate.ports.servers import (
    AbandonedRequest,
    AnswersQuestion,
    ConfirmsRequest,
    Imitates,
    ReportsLoad,
    ServerAnswer,
    ServerIdentity,
    StopCall,
    StopsWork,
)

INFO = {"model_id": "m"}
OPTIONS = {"sd_model_checkpoint": "m"}
LISTED = {"object": "list", "data": [{"id": "m", "owned_by": "someone"}]}


class Machine:
    """A server with these pages; every other one is 404."""

    def __init__(self, pages: dict[str, Any], *, status: int = 200, name: str = "") -> None:
        self._pages = pages
        self._status = status
        self._fields = {b"server": name.encode()} if name else {}
        self.asked: list[str] = []

    async def ask(self, path: str) -> ServerAnswer:
        self.asked.append(path)
        if path not in self._pages:
            return ServerAnswer(404, self._fields, b'{"detail":"Not Found"}')
        page = self._pages[path]
        if isinstance(page, int):
            return ServerAnswer(page, self._fields, b"{}")
        return ServerAnswer(
            self._status, self._fields, page if isinstance(page, bytes) else json.dumps(page).encode()
        )


def owned(by: str) -> dict[str, Any]:
    return {"data": [{"id": "m", "owned_by": by}]}


SERVERS: list[tuple[str, str, dict[str, Any]]] = [
    ("vllm", "0.33.0", {"/v1/models": owned("vllm"), "/version": {"version": "0.33.0"}}),
    ("llamacpp", "b7", {"/v1/models": owned("llamacpp"), "/props": {"build_info": "b7"}}),
    ("sglang", "0.5", {"/v1/models": owned("sglang"), "/get_server_info": {"version": "0.5"}}),
    ("sglang", "", {"/get_model_info": {"model_path": "m", "is_generation": True}}),
    ("lmdeploy", "", {"/v1/models": owned("lmdeploy")}),
    ("trtllm", "1.0", {"/v1/models": owned("tensorrt_llm"), "/version": {"version": "1.0"}}),
    ("infinity", "", {"/v1/models": owned("infinity")}),
    ("koboldcpp", "", {"/v1/models": owned("koboldcpp"), "/api/version": {"version": "0.7.0"}}),
    (
        "ollama", "0.11", {"/v1/models": owned("library"), "/api/version": {"version": "0.11"}},
    ),
    ("ollama", "0.11", {"/v1/models": {"data": None}, "/api/version": {"version": "0.11"}}),
    (
        "tgi", "3.3",
        {"/v1/models": owned("m"), "/info": {**INFO, "router": "text-generation-router", "version": "3.3"}},
    ),
    (
        "tei", "1.8",
        {"/info": {**INFO, "model_type": {"embedding": {}}, "max_client_batch_size": 32, "version": "1.8"}},
    ),
    (
        "localai", "v3",
        {
            "/v1/models": LISTED, "/system": {"backends": [], "loaded_models": []},
            "/api/version": {"version": "0.9.0"}, "/version": {"version": "v3"},
        },
    ),
    ("triton", "2.58", {"/v2": {"name": "triton", "version": "2.58", "extensions": []}}),
    ("kserve", "1.7", {"/v2": {"name": "mlserver", "version": "1.7", "extensions": []}}),
    ("comfyui", "0.3", {"/system_stats": {"system": {"comfyui_version": "0.3"}, "devices": []}}),
    ("a1111", "", {"/sdapi/v1/options": {"sd_model_checkpoint": "m"}}),
    (
        "sdcpp", "",
        {"/sdcpp/v1/capabilities": {"current_mode": "img_gen"}, "/sdapi/v1/options": OPTIONS},
    ),
    ("invokeai", "6.1", {"/api/v1/app/version": {"version": "6.1"}}),
    ("koboldcpp", "1.9", {"/api/extra/version": {"result": "KoboldCpp", "version": "1.9"}}),
    ("bentoml", "", {"/schema.json": {"name": "s", "type": "service", "routes": []}}),
    ("torchserve", "", {"/ping": {"status": "Healthy"}}),
    ("openai", "", {"/v1/models": LISTED}),
    ("vllm", "", {"/v1/models": 401, "/version": {"version": "0.33.0"}}),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "version", "pages"), SERVERS)
async def test_servers_are_told_by_their_signs(kind: str, version: str, pages: dict[str, Any]) -> None:
    """Each server by a sign of its own, also where it imitates another one."""
    found = await recognise(Machine(pages).ask)
    assert (found.kind, found.version, found.ready) == (kind, version, True)
    assert every()[kind].title in found.text()


async def test_models_are_those_of_the_list() -> None:
    """Models come from the list, or from the page that names the only one; not more than a few of them."""
    many = {"data": [{"id": f"m{number}", "owned_by": "vllm"} for number in range(1_000)]}
    assert (await recognise(Machine({"/v1/models": many}).ask)).models == tuple(
        f"m{n}" for n in range(MOST_MODELS)
    )
    options = Machine({"/sdapi/v1/options": {"sd_model_checkpoint": "sdxl"}})
    assert (await recognise(options.ask)).models == ("sdxl",)


async def test_a_server_header_names_llamacpp() -> None:
    """llama.cpp signs every answer; a framework's name says nothing about the server."""
    assert (await recognise(Machine({"/v1/models": LISTED}, name="llama.cpp").ask)).kind == "llamacpp"
    assert (await recognise(Machine({}, name="uvicorn").ask)).kind is None


async def test_a_server_that_still_loads_is_not_told_yet() -> None:
    """503 is no answer to what it is: it is asked again later."""
    found = await recognise(Machine({"/v1/models": LISTED}, status=503, name="llama.cpp").ask)
    assert found == ServerIdentity(ready=False)


async def test_nothing_is_asked_that_works_or_drains() -> None:
    """Only descriptions are asked for: no route that generates, loads, pulls or empties a record."""
    machine = Machine({})
    await recognise(machine.ask)
    assert len(machine.asked) == len(set(machine.asked)) <= 16
    guilty = ("generat", "health", "complet", "load", "perf", "metrics", "tags", "ps", "interrupt", "free")
    assert [path for path in machine.asked if any(word in path for word in guilty) and path != "/props"] == []


@given(
    st.dictionaries(
        st.sampled_from([path for _, _, pages in SERVERS for path in pages]), st.binary(max_size=60)
    )
)
async def test_garbage_is_no_sign(pages: dict[str, bytes]) -> None:
    """Whatever a server says to these questions, looking raises nothing."""
    found = await recognise(Machine(pages).ask)
    assert found.kind is None or found.kind in every()


@pytest.mark.parametrize("value", [None, 3, [], {}, "a\nb", "\x1b[31m", "x" * 500])
async def test_names_are_fit_to_be_shown(value: object) -> None:
    """A version that is no short printable text is not taken."""
    pages = {"/v1/models": owned("vllm"), "/version": {"version": value}}
    version = (await recognise(Machine(pages).ask)).version
    assert version == ("x" * 100 if value == "x" * 500 else "")


@pytest.mark.parametrize(("kind", "version", "pages"), SERVERS)
async def test_the_order_of_the_files_decides_nothing(kind: str, version: str, pages: dict[str, Any]) -> None:
    """However the plug-ins are listed, a server is recognised as the same one."""
    for seed in range(5):
        names = sorted(every())
        random.Random(seed).shuffle(names)
        found = await recognise(Machine(pages).ask, in_order({name: every()[name] for name in names}))
        assert (found.kind, found.version) == (kind, version)


@pytest.mark.parametrize(("kind", "version", "pages"), SERVERS)
def test_an_answer_is_claimed_by_one_file(kind: str, version: str, pages: dict[str, Any]) -> None:
    """No two plug-ins claim the answers of one server, but for those that say whom they imitate."""
    del version
    claims = [
        name
        for name, server in every().items()
        if isinstance(server, AnswersQuestion)
        and isinstance(page := pages.get(server.question), dict)
        and server.recognise(page)
    ]
    owner = every()[kind]
    assert set(claims) <= {kind, *(owner.imitates if isinstance(owner, Imitates) else ())}


def test_every_server_has_an_answer_that_shows_it() -> None:
    """The list above misses none but the one that only the configuration can name."""
    assert {kind for kind, _, _ in SERVERS} == set(plugins.names(plugins.SERVERS)) - {"huggingface"}


@given(members=st.dictionaries(st.sampled_from(
    ["version", "router", "model_type", "max_client_batch_size", "name", "extensions", "system", "devices",
     "sd_model_checkpoint", "result", "model_path", "is_generation", "default_generation_settings",
     "model_id", "build_info", "routes", "type", "status", "backends", "loaded_models", "current_mode"]),
    st.none() | st.integers() | st.text(max_size=5) | st.lists(st.integers(), max_size=2)))  # fmt: skip
def test_no_answer_makes_a_plugin_raise(members: dict[str, Any]) -> None:
    """Members of every type and in every combination are read or passed over."""
    for server in every().values():
        if isinstance(server, AnswersQuestion):
            server.recognise(members)


VLLM = b"""# HELP vllm:num_requests_running Number of requests in model execution batches.
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="m"} 2.0
vllm:num_requests_running{engine="1",model_name="m"} 1.0
vllm:num_requests_waiting{engine="0",model_name="m"} 4.0
vllm:num_requests_running_total 9
"""


def read(kind: str, body: bytes, status: int = 200) -> int | None:
    server = every()[kind]
    assert isinstance(server, ReportsLoad)
    return server.running(ServerAnswer(status, {}, body))


@pytest.mark.parametrize(
    ("kind", "body", "running"),
    [
        ("llamacpp", json.dumps([{"id": 0, "is_processing": True}, {"id": 1, "is_processing": False}]), 1),
        ("llamacpp", "[]", 0),
        ("llamacpp", '{"error":{"code":501}}', None),
        ("vllm", VLLM.decode(), 7),
        ("vllm", "vllm:num_requests_running 0", 0),
        ("vllm", "vllm:num_requests_waiting 3", None),
        ("vllm", "vllm:num_requests_running 1e300", None),
        ("vllm", "vllm:num_requests_running NaN\nvllm:num_requests_running 2e0", 2),
        ("vllm", "# vllm:num_requests_running 3\nxvllm:num_requests_running 3", None),
        ("tgi", "tgi_batch_current_size 3\ntgi_queue_size 1\n", 4),
        ("sglang", '[{"dp_rank":0,"num_reqs":2},{"dp_rank":1,"num_reqs":1}]', 3),
        ("sglang", '{"num_reqs":2}', 2),
        ("sglang", "[]", None),
        ("a1111", '{"state":{"job_count":2,"job":"scripts_txt2img"}}', 1),
        ("a1111", '{"state":{"job_count":0}}', 0),
        ("a1111", '{"detail":"x"}', None),
        ("koboldcpp", '{"idle":0,"queue":0}', 1),
        ("koboldcpp", '{"idle":1,"queue":0}', 0),
        ("koboldcpp", '{"idle":0,"queue":3}', 3),
    ],
)
def test_gauges_are_read(kind: str, body: str, running: int | None) -> None:
    """Running and waiting requests together; a page without the figure is not 0."""
    assert read(kind, body.encode()) == running


@pytest.mark.parametrize("kind", [name for name in every() if isinstance(every()[name], ReportsLoad)])
@given(
    body=st.binary(max_size=100) | st.sampled_from([b"null", b"[1]", b'{"state":3}', b'[{"num_reqs":"x"}]'])
)
def test_garbage_is_no_figure(kind: str, body: bytes) -> None:
    """Whatever a server answers, reading raises nothing, and an error page is no figure."""
    read(kind, body)
    assert read(kind, body, 404) is None


def test_servers_without_a_gauge_are_not_asked() -> None:
    """Ollama says nothing of its requests, and TensorRT-LLM's page is emptied by a look."""
    assert [isinstance(every()[kind], ReportsLoad) for kind in ("ollama", "trtllm", "triton")] == [False] * 3


CHAT = AbandonedRequest("/v1/chat/completions", {b"x-conversation-id": b"a b/c&d"})
IMAGE = AbandonedRequest("/sdapi/v1/txt2img", {})


def stop(kind: str, left: AbandonedRequest) -> StopCall | None:
    server = every()[kind]
    return server.stop(left) if isinstance(server, StopsWork) else None


def test_a_chat_that_may_be_taken_up_again_is_deleted() -> None:
    """llama.cpp generates on for a conversation until it is deleted; others stop by themselves."""
    assert stop("llamacpp", CHAT) == StopCall("DELETE", "/v1/stream?conv_id=a%20b%2Fc%26d")
    assert stop("vllm", CHAT) is None
    assert stop("llamacpp", AbandonedRequest("/v1/chat/completions", {})) is None


def test_only_generation_is_interrupted() -> None:
    """Of AUTOMATIC1111's routes only those that draw are stopped, and only after a look at what runs."""
    found = stop("a1111", IMAGE)
    assert found
    assert (found.method, found.path) == ("POST", "/sdapi/v1/interrupt")
    assert found.before
    assert stop("a1111", AbandonedRequest("/sdapi/v1/options", {})) is None


@pytest.mark.parametrize(
    ("status", "body", "mine"),
    [
        (200, b'{"state":{"job_count":1,"job":"scripts_txt2img"}}', True),
        (200, b'{"state":{"job_count":1,"job":"scripts_img2img"}}', False),
        (200, b'{"state":{"job_count":1,"job":"task(abc)"}}', False),
        (200, b'{"state":{"job_count":0,"job":"scripts_txt2img"}}', False),
        (200, b"nonsense", False),
        (401, b'{"state":{"job_count":1,"job":"scripts_txt2img"}}', False),
    ],
)
def test_nobody_elses_picture_is_stopped(status: int, body: bytes, mine: bool) -> None:
    """What a person draws in the browser runs under another name and is left alone."""
    server = every()["a1111"]
    assert isinstance(server, ConfirmsRequest)
    assert server.runs(IMAGE, ServerAnswer(status, {}, body)) is mine
