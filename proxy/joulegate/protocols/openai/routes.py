"""The routes of the OpenAI-compatible family and what each of them is for.

Known behind any prefix that ends in ``/v1`` (``/v1/…``, ``/openai/v1/…``, a prefix of one's own), behind
``/openai/deployments/{model}`` and ``/engines/{model}``, where the path names the model, and bare or behind
``/api`` for those names that no other protocol uses. Bare ``/completions`` and ``/embeddings`` are routes of
llama.cpp's own with other bodies: they are not matched here, see ``protocols.llamacpp``.
Source: https://platform.openai.com/docs/api-reference; vLLM, LiteLLM, LocalAI and SGLang serve the same, and
``classify``, ``score``, ``decisions`` and ``systemone`` beside them; LocalAI has inpainting, upscaling,
diarization and classification of sounds, vLLM-Omni batches of speech and ``audio/generate``.
"""

import re
from urllib.parse import unquote

from msgspec.structs import replace

from joulegate.model import Task, WorkClass
from joulegate.ports import Route

CHAT = "chat.completions"
CHAT_BATCH = "chat.completions.batch"
COMPLETIONS = "completions"
RESPONSES = "responses"
COMPACT = "responses.compact"
"""A model makes a long conversation short."""
READINGS = frozenset({"embeddings", "rerank", "moderations", "classify", "score", "decisions", "systemone"})
"""All their work is in the prompt."""
IMAGES = frozenset({
    "images.generations", "images.edits", "images.variations", "images.inpainting", "images.upscale",
})  # fmt: skip
SPEECH = frozenset({"audio.speech", "audio.generate"})
TRANSCRIPTS = frozenset({
    "audio.transcriptions", "audio.translations", "audio.diarization", "audio.classification",
})  # fmt: skip
VIDEOS = "videos"
CLIPS = "videos.sync"
BATCHES = "batches"
REALTIME = "realtime"
JOB, JOBS = "job", "jobs"

_POST = {
    "chat/completions": Route(CHAT, Task.CHAT),
    "chat/completions/batch": Route(CHAT_BATCH, Task.CHAT),
    "completions": Route(COMPLETIONS, Task.TEXT_GENERATION),
    "responses": Route(RESPONSES, Task.CHAT),
    "responses/compact": Route(COMPACT, Task.SUMMARIZATION),
    "embeddings": Route("embeddings", Task.EMBEDDINGS),
    "images/generations": Route("images.generations", Task.IMAGE_GENERATION),
    "images/edits": Route("images.edits", Task.IMAGE_EDIT),
    "images/variations": Route("images.variations", Task.IMAGE_EDIT),
    "images/inpainting": Route("images.inpainting", Task.IMAGE_EDIT),
    "images/upscale": Route("images.upscale", Task.IMAGE_EDIT),
    "rerank": Route("rerank", Task.RERANK),
    "reranking": Route("rerank", Task.RERANK),
    "moderations": Route("moderations", Task.MODERATION),
    "classify": Route("classify", Task.TEXT_CLASSIFICATION),
    "score": Route("score", Task.RERANK),
    "decisions": Route("decisions", Task.TEXT_CLASSIFICATION),
    "systemone": Route("systemone", Task.TEXT_CLASSIFICATION),
    "audio/speech": Route("audio.speech", Task.SPEECH_SYNTHESIS),
    "audio/speech/batch": Route("audio.speech", Task.SPEECH_SYNTHESIS),
    "audio/generate": Route("audio.generate", Task.SPEECH_SYNTHESIS),
    "audio/transcriptions": Route("audio.transcriptions", Task.SPEECH_RECOGNITION),
    "audio/translations": Route("audio.translations", Task.SPEECH_RECOGNITION),
    "audio/diarization": Route("audio.diarization"),
    "audio/classification": Route("audio.classification"),
    "videos": Route(VIDEOS, Task.VIDEO_GENERATION),
    "videos/edits": Route(VIDEOS, Task.VIDEO_GENERATION),
    "videos/extensions": Route(VIDEOS, Task.VIDEO_GENERATION),
    "videos/sync": Route(CLIPS, Task.VIDEO_GENERATION),
    "videos/generations": Route(CLIPS, Task.VIDEO_GENERATION),
    "batches": Route(BATCHES),
}
"""Routes that make a model work."""

_NOT_BARE = frozenset(name for name in _POST if name.startswith(("videos", "batches")))
_BARE = (
    _POST.keys() - _NOT_BARE - {"completions", "embeddings", "classify", "score", "decisions", "systemone"}
)

_ADMIN = Route("admin", work=WorkClass.ADMIN, reads_body=False)
_REALTIME = Route(REALTIME, work=WorkClass.ADMIN, reads_body=False)
_JOB = Route(JOB, work=WorkClass.ADMIN, reads_body=False)
_JOBS = Route(JOBS, work=WorkClass.ADMIN, reads_body=False)
_REMIX = re.compile(r"videos/[^/]+/remix")
_JOB_POST = re.compile(r"(?:responses|batches)/[^/]+/cancel")
_JOB_READ = re.compile(r"(?:responses|batches|videos)/[^/]+")
_JOBS_READ = re.compile(r"batches|videos")
_MODELS = Route("models", work=WorkClass.PROBE, reads_body=False)
_GATE = re.compile(r"(?:/[^/]+)*?/(?:v1/(?=.)|v2/(?=rerank/?$))(?P<rest>[^?]+?)/?")
"""Only reranking has a second version; the rest of ``/v2`` is KServe's."""
_NAMED = re.compile(r"(?:/[^/]+)*?/(?:deployments|engines)/(?P<model>[^/]+)/(?P<rest>.+?)/?")
_ADMIN_POST = re.compile(
    r"responses/(?:input_tokens|[^/]+/cancel)|files(?:/.*)?|uploads(?:/.*)?|batches(?:/.*)?|realtime/.+"
    r"|(?:chat/)?completions/(?:de)?render|responses/render|chat/completions/[^/]+|(?:de)?tokenize"
)
_READ = re.compile(r"models(?:/.+)?")
_ADMIN_READ = re.compile(r"(?:files|batches|uploads|responses|videos|realtime|chat/completions)(?:/.*)?")


def match(method: str, path: str) -> Route | None:
    """Return the route of a raw path, or ``None`` if it is not one of this family."""
    if method == "POST" and path.startswith("/v1/") and path[4:] in _POST:
        return _POST[path[4:]]  # Nearly every request: no pattern has to be tried.
    rest, model = _rest(path)
    if rest is None:
        return None
    if method == "POST":
        route = _POST.get(rest) or _of_a_job(rest)
        return replace(route, model=model) if route and model else route
    if _READ.fullmatch(rest):
        return _MODELS
    if rest == REALTIME and method == "GET":
        return _REALTIME
    if _JOB_READ.fullmatch(rest) or _JOBS_READ.fullmatch(rest):
        return _JOB if "/" in rest else _JOBS
    return _ADMIN if _ADMIN_READ.fullmatch(rest) else None


def _of_a_job(rest: str) -> Route | None:
    """Return the route of a ``POST`` that makes no model work by itself, or a video of another one."""
    if _JOB_POST.fullmatch(rest):
        return _JOB
    if _REMIX.fullmatch(rest):
        return _POST[VIDEOS]
    return _ADMIN if _ADMIN_POST.fullmatch(rest) else None


def _rest(path: str) -> tuple[str | None, str | None]:
    """Return the part of the path that names the operation, and the model that the path names."""
    named = _NAMED.fullmatch(path)
    if named:
        return named["rest"], unquote(named["model"])
    behind = _GATE.fullmatch(path)
    if behind:
        return behind["rest"], None
    bare = path.strip("/").removeprefix("api/")
    return (bare if bare in _BARE else None), None
