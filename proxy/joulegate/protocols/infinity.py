"""Infinity's routes beyond OpenAI's (https://github.com/michaelfeil/infinity, infinity_server.py).

They stand below a prefix that the operator chooses, none by default. Usage is OpenAI's.
"""

from joulegate.model import Task
from joulegate.observing import PromptListener
from joulegate.ports import About, Headers, Observer, Route

_ENDS = {
    "embeddings_image": Route("infinity.embeddings", Task.EMBEDDINGS),
    "embeddings_audio": Route("infinity.embeddings", Task.EMBEDDINGS),
}
_CLASSIFY = Route("infinity.classify", Task.TEXT_CLASSIFICATION)


class Plugin:
    """Knows embeddings of images and sounds, and the bare ``/classify``."""

    about = About(
        servers=("Infinity",),
        kinds=("infinity",),
        routes=("POST /embeddings_audio", "POST /v1/embeddings_image"),
        usage="`usage.prompt_tokens`",
    )

    def matches(self, method: str, path: str) -> Route | None:
        """Return the route, or ``None`` if it is OpenAI's or none."""
        if method != "POST":
            return None
        return _CLASSIFY if path == "/classify" else _ENDS.get(path.rpartition("/")[2])

    def observer(self, route: Route, headers: Headers) -> Observer:
        """Return a fresh listener for one exchange."""
        return PromptListener(headers, model=route.model)
