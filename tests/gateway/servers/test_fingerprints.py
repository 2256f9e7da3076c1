"""What a server is, told from what it answers."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulegate.config.upstreams import _KINDS
from joulegate.gateway.http.call import ServerAnswer
from joulegate.gateway.servers.fingerprints import MOST_MODELS, ServerIdentity, recognise
from joulegate.model.servers import TITLES, ServerKind

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


SERVERS: list[tuple[ServerKind, str, dict[str, Any]]] = [
    (ServerKind.VLLM, "0.33.0", {"/v1/models": owned("vllm"), "/version": {"version": "0.33.0"}}),
    (ServerKind.LLAMACPP, "b7", {"/v1/models": owned("llamacpp"), "/props": {"build_info": "b7"}}),
    (ServerKind.SGLANG, "0.5", {"/v1/models": owned("sglang"), "/get_server_info": {"version": "0.5"}}),
    (ServerKind.SGLANG, "", {"/get_model_info": {"model_path": "m", "is_generation": True}}),
    (ServerKind.LMDEPLOY, "", {"/v1/models": owned("lmdeploy")}),
    (ServerKind.TRTLLM, "1.0", {"/v1/models": owned("tensorrt_llm"), "/version": {"version": "1.0"}}),
    (ServerKind.INFINITY, "", {"/v1/models": owned("infinity")}),
    (ServerKind.KOBOLDCPP, "", {"/v1/models": owned("koboldcpp"), "/api/version": {"version": "0.7.0"}}),
    (
        ServerKind.OLLAMA, "0.11", {"/v1/models": owned("library"), "/api/version": {"version": "0.11"}},
    ),
    (ServerKind.OLLAMA, "0.11", {"/v1/models": {"data": None}, "/api/version": {"version": "0.11"}}),
    (
        ServerKind.TGI, "3.3",
        {"/v1/models": owned("m"), "/info": {**INFO, "router": "text-generation-router", "version": "3.3"}},
    ),
    (
        ServerKind.TEI, "1.8",
        {"/info": {**INFO, "model_type": {"embedding": {}}, "max_client_batch_size": 32, "version": "1.8"}},
    ),
    (
        ServerKind.LOCALAI, "v3",
        {
            "/v1/models": LISTED, "/system": {"backends": [], "loaded_models": []},
            "/api/version": {"version": "0.9.0"}, "/version": {"version": "v3"},
        },
    ),
    (ServerKind.TRITON, "2.58", {"/v2": {"name": "triton", "version": "2.58", "extensions": []}}),
    (ServerKind.KSERVE, "1.7", {"/v2": {"name": "mlserver", "version": "1.7", "extensions": []}}),
    (ServerKind.COMFYUI, "0.3", {"/system_stats": {"system": {"comfyui_version": "0.3"}, "devices": []}}),
    (ServerKind.A1111, "", {"/sdapi/v1/options": {"sd_model_checkpoint": "m"}}),
    (
        ServerKind.SDCPP, "",
        {"/sdcpp/v1/capabilities": {"current_mode": "img_gen"}, "/sdapi/v1/options": OPTIONS},
    ),
    (ServerKind.INVOKEAI, "6.1", {"/api/v1/app/version": {"version": "6.1"}}),
    (ServerKind.KOBOLDCPP, "1.9", {"/api/extra/version": {"result": "KoboldCpp", "version": "1.9"}}),
    (ServerKind.BENTOML, "", {"/schema.json": {"name": "s", "type": "service", "routes": []}}),
    (ServerKind.TORCHSERVE, "", {"/ping": {"status": "Healthy"}}),
    (ServerKind.OPENAI, "", {"/v1/models": LISTED}),
    (ServerKind.VLLM, "", {"/v1/models": 401, "/version": {"version": "0.33.0"}}),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "version", "pages"), SERVERS)
async def test_servers_are_told_by_their_signs(kind: ServerKind, version: str, pages: dict[str, Any]) -> None:
    """Each server by a sign of its own, also where it imitates another one."""
    found = await recognise(Machine(pages).ask)
    assert (found.kind, found.version, found.ready) == (kind, version, True)
    assert TITLES[kind] in found.text()


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
    assert (
        await recognise(Machine({"/v1/models": LISTED}, name="llama.cpp").ask)
    ).kind is ServerKind.LLAMACPP
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
    assert found.kind is None or found.kind in TITLES


@pytest.mark.parametrize("value", [None, 3, [], {}, "a\nb", "\x1b[31m", "x" * 500])
async def test_names_are_fit_to_be_shown(value: object) -> None:
    """A version that is no short printable text is not taken."""
    pages = {"/v1/models": owned("vllm"), "/version": {"version": value}}
    version = (await recognise(Machine(pages).ask)).version
    assert version == ("x" * 100 if value == "x" * 500 else "")


def test_every_kind_has_a_title_and_may_be_configured() -> None:
    """No kind is known here and not there."""
    assert set(TITLES) == set(ServerKind)
    assert {kind.value for kind in ServerKind} <= set(_KINDS)
