"""Text Embeddings Inference (https://github.com/huggingface/text-embeddings-inference, router/src).

Native answers are bare arrays; what they cost stands in the head (``joulegate.framing.heads``), as it does on
``/rerank`` and ``/v1/embeddings``, which belong to ``protocols.openai``. No request and no answer names the
model: the configuration or the probe of the server does.
"""

from joulegate.model import Task, WorkClass
from joulegate.observing import Listener, PromptListener
from joulegate.ports import About, Headers, Observer, Route

_EMBED = Route("tei.embed", Task.EMBEDDINGS, dialect="plain")
_INFERENCE = {
    "/embed": _EMBED,
    "/embed_all": _EMBED,
    "/embed_sparse": _EMBED,
    "/similarity": Route("tei.similarity", Task.EMBEDDINGS, dialect="plain"),
    "/predict": Route("tei.predict", Task.TEXT_CLASSIFICATION, dialect="plain"),
    "/vertex": Route("tei.vertex", Task.EMBEDDINGS, dialect="plain"),
}
_ADMIN = Route("tei.admin", work=WorkClass.ADMIN, reads_body=False, dialect="plain")
_PROBE = Route("tei.probe", work=WorkClass.PROBE, reads_body=False, dialect="plain")


class Plugin:
    """Knows TEI's native routes."""

    about = About(
        servers=("Text Embeddings Inference",),
        kinds=("tei",),
        routes=("POST /embed_all", "POST /embed_sparse", "POST /similarity", "POST /vertex", "POST /decode"),
        usage="fields of the head: `x-compute-tokens`, `x-queue-time`, `x-inference-time`; none at `/vertex`",
    )

    def matches(self, method: str, path: str) -> Route | None:
        """Return the route, or ``None`` if TEI has none of its own there."""
        if method == "POST":
            return _ADMIN if path == "/decode" else _INFERENCE.get(path)
        return _PROBE if method == "GET" and path == "/info" else None

    def observer(self, route: Route, headers: Headers) -> Observer:
        """Return a fresh listener for one exchange."""
        return (PromptListener if route.work is WorkClass.INFERENCE else Listener)(headers, model=route.model)
