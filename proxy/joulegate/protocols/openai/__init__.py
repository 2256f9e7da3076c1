"""The OpenAI-compatible family: the routes that most inference servers have in common."""

import re
from collections.abc import Sequence
from urllib.parse import quote

from joulegate.observing import Listener, PromptListener
from joulegate.ports import About, Headers, Observer, Route
from joulegate.protocols.openai import routes
from joulegate.protocols.openai.audio import Speech, Transcript
from joulegate.protocols.openai.images import Image
from joulegate.protocols.openai.jobs import Clip, ListedJobs, OpenAIBatch, Stored, Video
from joulegate.protocols.openai.realtime import Realtime
from joulegate.protocols.openai.text import Chat, Completion, Response

_LISTENERS: dict[str, type[Listener]] = {
    routes.CHAT: Chat,
    routes.CHAT_BATCH: Chat,
    routes.COMPLETIONS: Completion,
    routes.RESPONSES: Response,
    routes.COMPACT: Response,
    routes.VIDEOS: Video,
    routes.CLIPS: Clip,
    routes.BATCHES: OpenAIBatch,
    routes.JOB: Stored,
    routes.JOBS: ListedJobs,
    routes.REALTIME: Realtime,
    **dict.fromkeys(routes.READINGS, PromptListener),
    **dict.fromkeys(routes.IMAGES, Image),
    **dict.fromkeys(routes.SPEECH, Speech),
    **dict.fromkeys(routes.TRANSCRIPTS, Transcript),
}


class Plugin:
    """Knows the routes of the family under ``/v1``, behind any prefix, and bare."""

    about = About(
        servers=(
            "OpenAI", "vLLM", "SGLang", "llama.cpp", "Ollama", "TGI", "TEI", "TensorRT-LLM", "LMDeploy",
            "LocalAI", "Infinity", "transformers serve", "KServe", "and whatever else speaks it",
        ),
        usage="`usage`, in the answer or in the last event that has one; llama.cpp's `timings`, vLLM's "
        "`metrics`; images: `data`, `size`; transcripts: `usage.seconds`",
        streaming="events, then `[DONE]`; responses: named events, last `response.completed`; usage is "
        "asked for where the client did not, and taken out again",
        jobs="videos, batches, background responses: what passes of their `status`",
        disconnect="as the server behind it: most stop",
    )  # fmt: skip

    def matches(self, method: str, path: str) -> Route | None:
        """Return the route, or ``None`` if the path is not of this family."""
        return routes.match(method, path)

    def observer(self, route: Route, headers: Headers) -> Observer:
        """Return a fresh listener for one exchange."""
        return _LISTENERS.get(route.name, Listener)(headers, model=route.model)

    def inquiries(self, path: str, job: str) -> Sequence[str]:
        """Return the address of a video, a batch or a response beside the route that took it."""
        stem = re.sub(r"/(videos|batches|responses)(?:/.*)?$", r"/\1", path)
        return (f"{stem}/{quote(job, safe='')}",)
