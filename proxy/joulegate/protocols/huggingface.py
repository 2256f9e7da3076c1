"""Hugging Face's inference toolkit and everything else that answers as its pipelines do.

Source: https://github.com/huggingface/huggingface-inference-toolkit, webservice_starlette.py, serialization:
``POST /`` and ``POST /predict`` with ``{"inputs": …, "parameters": …}`` or the raw bytes of a picture or a
sound; ``POST /pipeline/{task}`` where that route is on; ``/models/{owner}/{name}`` as the inference providers
have it. One server has one model and one task, which only some of these paths name: the others take theirs
from ``[[upstream]]``.
"""

import re
from urllib.parse import unquote

from msgspec.structs import replace

from joulegate.framing import Found, Peek, PicturePeek, SoundPeek
from joulegate.framing.sound import heard
from joulegate.framing.values import decode, derived, whole
from joulegate.model import Asked, Fact, Task, TaskFacts
from joulegate.observing import Listener, header
from joulegate.ports import About, Headers, Observer, Route

TASKS = {
    "text-classification": Task.TEXT_CLASSIFICATION,
    "sentiment-analysis": Task.TEXT_CLASSIFICATION,
    "zero-shot-classification": Task.TEXT_CLASSIFICATION,
    "question-answering": Task.QUESTION_ANSWERING,
    "fill-mask": Task.MASKED_LANGUAGE_MODELLING,
    "token-classification": Task.TOKEN_CLASSIFICATION,
    "ner": Task.TOKEN_CLASSIFICATION,
    "image-classification": Task.IMAGE_CLASSIFICATION,
    "zero-shot-image-classification": Task.IMAGE_CLASSIFICATION,
    "object-detection": Task.OBJECT_DETECTION,
    "zero-shot-object-detection": Task.OBJECT_DETECTION,
    "text-generation": Task.TEXT_GENERATION,
    "text2text-generation": Task.TEXT_GENERATION,
    "summarization": Task.SUMMARIZATION,
    "image-to-text": Task.IMAGE_CAPTIONING,
    "text-to-image": Task.IMAGE_GENERATION,
    "image-to-image": Task.IMAGE_EDIT,
    "conversational": Task.CHAT,
    "image-text-to-text": Task.CHAT,
    "feature-extraction": Task.EMBEDDINGS,
    "sentence-embeddings": Task.EMBEDDINGS,
    "sentence-similarity": Task.EMBEDDINGS,
    "sentence-ranking": Task.RERANK,
    "text-ranking": Task.RERANK,
    "text-to-video": Task.VIDEO_GENERATION,
    "text-to-speech": Task.SPEECH_SYNTHESIS,
    "text-to-audio": Task.SPEECH_SYNTHESIS,
    "automatic-speech-recognition": Task.SPEECH_RECOGNITION,
}
"""Pipelines and their tasks; those of others, such as translation, are unknown."""

_PIPELINE = Route("pipeline", dialect="triton")
_NAMED = re.compile(
    r"(?:/hf-inference)?/models/(?P<model>[^/]+/(?!invoke$)[^/]+)(?:/pipeline/(?P<task>[^/]+))?/?|/pipeline/(?P<alone>[^/]+)"
)
_JSON = b"application/json"
_PARAMETERS = ("width", "height", "num_inference_steps", "max_new_tokens")


class Plugin:
    """Knows the paths of the toolkit and of the inference providers."""

    about = About(
        servers=("Hugging Face inference toolkit", "transformers pipelines behind the same routes"),
        kinds=("huggingface",),
        routes=("POST /models/facebook/detr-resnet-50", "POST /hf-inference/models/o/m/pipeline/fill-mask"),
        usage="none; results are the inputs, characters those of texts, pictures, sounds and their size the "
        "answer's own, steps `parameters.num_inference_steps`",
        streaming="none",
        disconnect="goes on: the handler does not look",
    )

    def matches(self, method: str, path: str) -> Route | None:
        """Return the route, or ``None`` if the toolkit has none there."""
        if method != "POST":
            return None
        if path in ("/", "/predict"):
            return _PIPELINE
        found = _NAMED.fullmatch(path)
        if not found:
            return None
        task = TASKS.get(unquote(found["task"] or found["alone"] or ""), Task.UNKNOWN)
        return replace(_PIPELINE, task=task, model=unquote(found["model"]) if found["model"] else None)

    def observer(self, route: Route, headers: Headers) -> Observer:
        """Return a fresh listener for one exchange."""
        return Pipeline(headers, model=route.model)


class Pipeline(Listener):
    """Listens to one call of a pipeline."""

    wishes = frozenset({"stream", "inputs"} | {f"parameters.{name}" for name in _PARAMETERS})
    wish_counts = frozenset({"inputs", "instances"})

    def __init__(self, headers: Headers, *, model: str | None = None) -> None:
        super().__init__(headers, model=model)
        self._picture: Found | None = None
        self._sound: Fact | None = None

    def request_peek(self, headers: Headers) -> Peek | None:
        """Count the seconds of a sound that tells them; leave other bytes unread."""
        content_type = header(headers, b"content-type")
        media = content_type.partition(b";")[0].strip().lower()
        if SoundPeek.reads(media):
            return SoundPeek(content_type)
        return super().request_peek(headers) if media in (b"", _JSON) else None

    def answer_peek(self, media: bytes, headers: Headers) -> Peek | None:
        """Read the size of a picture, or the length of a sound."""
        if SoundPeek.reads(media):
            return SoundPeek(header(headers, b"content-type"))
        return PicturePeek() if media.startswith(b"image/") else super().answer_peek(media, headers)

    def wish(self, found: Found) -> Asked:
        """Return the size and the steps of a picture, or the bound of a text."""
        width, height, steps, bound = (whole(found.members.get(f"parameters.{name}")) for name in _PARAMETERS)
        return Asked(max_tokens=bound, width=width, height=height, steps=steps)

    def document(self, found: Found) -> None:
        """Keep what a picture or a sound says of itself."""
        self._sound = heard(found)
        if "pictures" in found.counts:
            self._picture = found

    def facts(self) -> TaskFacts:
        """Return one result for each input; of a picture its own size, else the one asked for."""
        if not self.answered:
            return self.accounts.facts
        request = self.request_found()
        results = request.counts.get("inputs", request.counts.get("instances", 1))
        text = _characters(request.members.get("inputs"))
        facts = replace(
            self.accounts.facts,
            choices=derived(results),
            characters=derived(text),
            audio_in=heard(request),
            audio_out=self._sound,
        )
        return facts if self._picture is None else self._drawn(facts, self._picture)

    def _drawn(self, facts: TaskFacts, picture: Found) -> TaskFacts:
        asked = self.asked()
        width = whole(picture.members.get("picture.width")) or asked.width
        height = whole(picture.members.get("picture.height")) or asked.height
        pixels = width * height if width and height else None
        return replace(facts, images=derived(1), pixels=derived(pixels), steps=derived(asked.steps))


def _characters(raw: bytes | None) -> int | None:
    """Return the length of a text or of a list of texts."""
    text = decode(raw, str) if raw is not None else None
    if text is not None:
        return len(text)
    texts = decode(raw, list[str]) if raw is not None else None
    return sum(map(len, texts)) if texts else None
