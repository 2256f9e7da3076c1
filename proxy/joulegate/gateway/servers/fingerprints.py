"""What a server is, told from answers to questions that cost it nothing. Pure.

Only ``GET`` of lists and descriptions: nothing here generates, loads or drains anything. The signs are those
of the servers' own sources and documentation, named at each; a server that shows none is of no known kind.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec
from msgspec import Struct

from joulegate.gateway.http.call import ServerAnswer
from joulegate.model.servers import TITLES, ServerKind

MOST_MODELS = 32
"""Models that are listed of one server."""
_LONGEST = 100
_LOADING = 503

OWNERS: Mapping[str, ServerKind] = {
    "llamacpp": ServerKind.LLAMACPP,
    "vllm": ServerKind.VLLM,
    "sglang": ServerKind.SGLANG,
    "library": ServerKind.OLLAMA,
    "lmdeploy": ServerKind.LMDEPLOY,
    "tensorrt_llm": ServerKind.TRTLLM,
    "infinity": ServerKind.INFINITY,
    "koboldcpp": ServerKind.KOBOLDCPP,
}
"""What servers write into ``owned_by`` of their model list: llama.cpp, vLLM 0.33, SGLang 0.5.23, Ollama,
LMDeploy 0.18, TensorRT-LLM 1.0, infinity-emb 0.0.78 (sources)."""


class ServerIdentity(Struct, frozen=True):
    """What is known of a server that answers."""

    kind: ServerKind | None = None
    version: str = ""
    models: tuple[str, ...] = ()
    ready: bool = True
    """It said to none of the questions that it is still loading."""

    def text(self) -> str:
        """Return type and version as people read them; empty if not known."""
        return f"{TITLES.get(self.kind, self.kind)} {self.version}".strip() if self.kind else ""


Ask = Callable[[str], Awaitable[ServerAnswer]]
"""Sends ``GET`` of a path. Raises ``UpstreamError`` if there is no answer."""
Members = Mapping[str, Any]


async def recognise(ask: Ask) -> ServerIdentity:
    """Ask until the answers show what the server is. Raises ``UpstreamError`` if it does not answer."""
    first = await ask("/v1/models")
    listed = _listed(first)
    if listed.kind and listed.kind is not ServerKind.OPENAI:
        return await _with_version(ask, listed)
    loading = first.status == _LOADING
    for path, sign in _QUESTIONS:
        answer = await ask(path)
        loading = loading or answer.status == _LOADING
        found = sign(_members(answer))
        if found:
            return await _with_version(ask, _merged(found, listed))
    if first.status in {401, 403} and _members(await ask("/version")).get("version"):
        return ServerIdentity(ServerKind.VLLM)  # Its key protects /v1 and leaves /version open.
    return msgspec.structs.replace(listed, ready=not loading)


async def _with_version(ask: Ask, server: ServerIdentity) -> ServerIdentity:
    path = _VERSIONS.get(server.kind) if server.kind else None
    if server.version or path is None:
        return server
    members = _members(await ask(path))
    return msgspec.structs.replace(server, version=_text(members.get("version") or members.get("build_info")))


def _merged(found: ServerIdentity, listed: ServerIdentity) -> ServerIdentity:
    return msgspec.structs.replace(found, models=found.models or listed.models)


def _listed(answer: ServerAnswer) -> ServerIdentity:
    """Read a model list in OpenAI's form, and llama.cpp's ``ServerIdentity`` field."""
    rows = _members(answer).get("data")
    models = [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else None
    owners = (OWNERS.get(str(row.get("owned_by"))) for row in models or ())
    kind = next((owner for owner in owners if owner), ServerKind.OPENAI if models is not None else None)
    if answer.fields.get(b"server") == b"llama.cpp":
        kind = ServerKind.LLAMACPP
    names = tuple(name for row in models or () if (name := _text(row.get("id"))))
    ready = answer.status != _LOADING
    return ServerIdentity(kind if ready else None, models=names[:MOST_MODELS], ready=ready)


def _info(members: Members) -> ServerIdentity | None:
    """TGI and TEI, ``GET /info`` (router/src of both)."""
    version, models = _text(members.get("version")), (_text(members.get("model_id")),)
    if members.get("router") == "text-generation-router":
        return ServerIdentity(ServerKind.TGI, version, models)
    if "max_client_batch_size" in members and isinstance(members.get("model_type"), dict | str):
        return ServerIdentity(ServerKind.TEI, version, models)
    return None


def _kserve(members: Members) -> ServerIdentity | None:
    """Triton, MLServer and KServe, ``GET /v2`` (KServe's Open Inference Protocol, server metadata)."""
    name = members.get("name")
    if not isinstance(name, str) or "extensions" not in members:
        return None
    kind = ServerKind.TRITON if name == "triton" else ServerKind.KSERVE
    return ServerIdentity(kind, _text(members.get("version")))


def _comfyui(members: Members) -> ServerIdentity | None:
    """ComfyUI, ``GET /system_stats`` (server.py)."""
    system = members.get("system")
    if isinstance(system, dict) and isinstance(members.get("devices"), list):
        return ServerIdentity(ServerKind.COMFYUI, _text(system.get("comfyui_version")))
    return None


def _a1111(members: Members) -> ServerIdentity | None:
    """AUTOMATIC1111 and Forge, ``GET /sdapi/v1/options`` (modules/api/api.py)."""
    model = _text(members.get("sd_model_checkpoint"))
    if "sd_model_checkpoint" not in members:
        return None
    return ServerIdentity(ServerKind.A1111, models=(model,) if model else ())


def _kobold(members: Members) -> ServerIdentity | None:
    """KoboldCpp, ``GET /api/extra/version``."""
    if members.get("result") != "KoboldCpp":
        return None
    return ServerIdentity(ServerKind.KOBOLDCPP, _text(members.get("version")))


def _llamacpp(members: Members) -> ServerIdentity | None:
    """llama.cpp, ``GET /props`` (tools/server/README.md)."""
    if "default_generation_settings" not in members:
        return None
    return ServerIdentity(ServerKind.LLAMACPP, _text(members.get("build_info")))


def _having(kind: ServerKind, *names: str) -> Callable[[Members], ServerIdentity | None]:
    """Return the sign of a server whose answer has all these members."""

    def sign(members: Members) -> ServerIdentity | None:
        if not all(name in members for name in names):
            return None
        model = _text(members.get("model_path"))
        return ServerIdentity(kind, _text(members.get("version")), (model,) if model else ())

    return sign


_QUESTIONS: tuple[tuple[str, Callable[[Members], ServerIdentity | None]], ...] = (
    ("/info", _info),
    (
        "/system",
        _having(ServerKind.LOCALAI, "backends", "loaded_models"),
    ),  # Before Ollama, which it imitates.
    ("/api/version", _having(ServerKind.OLLAMA, "version")),
    ("/v2", _kserve),
    ("/system_stats", _comfyui),
    ("/sdcpp/v1/capabilities", _having(ServerKind.SDCPP, "current_mode")),  # Before A1111, likewise.
    ("/sdapi/v1/options", _a1111),
    ("/api/v1/app/version", _having(ServerKind.INVOKEAI, "version")),
    ("/api/extra/version", _kobold),
    ("/get_model_info", _having(ServerKind.SGLANG, "model_path", "is_generation")),
    ("/props", _llamacpp),
    ("/schema.json", _having(ServerKind.BENTOML, "routes", "type")),
    ("/ping", _having(ServerKind.TORCHSERVE, "status")),
)
_VERSIONS: Mapping[ServerKind, str] = {
    ServerKind.VLLM: "/version",
    ServerKind.LLAMACPP: "/props",
    ServerKind.SGLANG: "/get_server_info",
    ServerKind.OLLAMA: "/api/version",
    ServerKind.TRTLLM: "/version",
    ServerKind.LOCALAI: "/version",
}
"""Where the version stands if the first sign had none."""


def _members(answer: ServerAnswer) -> Members:
    if answer.status != 200:
        return {}
    try:
        return msgspec.json.decode(answer.body, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {}


def _text(value: object) -> str:
    """Return a text of a server's, short and printable; anything else is none."""
    text = value[:_LONGEST] if isinstance(value, str) else ""
    return text if text.isprintable() else ""
