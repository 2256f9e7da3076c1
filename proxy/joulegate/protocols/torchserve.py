"""TorchServe's own routes (docs/inference_api.md and docs/management_api.md of https://github.com/pytorch/serve).

Requests are a file, a form or JSON, answers whatever the model's handler gives: nothing in them has a fixed
place, so the model's name is all there is to read. DJL Serving answers on the same paths.
"""

import re
from urllib.parse import unquote

from msgspec.structs import replace

from joulegate.framing import Found, Peek
from joulegate.model import Asked, WorkClass
from joulegate.observing import Listener, header
from joulegate.ports import About, Headers, Observer, Route

_INFERENCE = re.compile(r"/(?P<verb>predictions|explanations|wfpredict)/(?P<model>[^/]+)(?:/[^/]+)?")
_ROUTES = {
    "predictions": Route("predictions", dialect="torchserve"),
    "explanations": Route("explanations", dialect="torchserve"),
    "wfpredict": Route("workflow", dialect="torchserve"),
}
_MANAGED = re.compile(r"/(?:models|workflows)(?:/[^/]+){0,2}(?:/set-default)?")
_LOAD = Route("models", work=WorkClass.MODEL_LOAD, reads_body=False, dialect="torchserve")
_ADMIN = Route("admin", work=WorkClass.ADMIN, reads_body=False, dialect="torchserve")
_PROBE = Route("probe", work=WorkClass.PROBE, reads_body=False, dialect="torchserve")


class Plugin:
    """Knows the inference and the management interface."""

    about = About(
        servers=("TorchServe 0.12", "DJL Serving"),
        kinds=("torchserve",),
        routes=(
            "POST /explanations/m", "PUT /models/m", "POST /models", "POST /wfpredict/w",
            "GET /api-description",
        ),
        usage="none: answers have no form of their own",
        streaming="chunks of the handler's own form",
        disconnect="unknown",
    )  # fmt: skip

    def matches(self, method: str, path: str) -> Route | None:
        """Return the route, or ``None`` if TorchServe has none there."""
        found = _INFERENCE.fullmatch(path) if method in ("POST", "PUT") else None
        if found:
            return replace(_ROUTES[found["verb"]], model=unquote(found["model"]))
        if method == "GET":
            return _PROBE if path == "/api-description" else None
        if not _MANAGED.fullmatch(path):
            return None
        registers = method == "POST" and path in ("/models", "/workflows")
        if registers or method == "PUT":  # registering and scaling both start workers, which load the model
            return _ADMIN if path.endswith("/set-default") else _LOAD
        return _ADMIN if method == "DELETE" else None

    def observer(self, route: Route, headers: Headers) -> Observer:
        """Return a fresh listener for one exchange."""
        return Prediction(headers, model=route.model)


class Prediction(Listener):
    """Listens to one exchange; what the handler reads and writes is its own."""

    def request_peek(self, headers: Headers) -> Peek | None:
        """Leave a file unread."""
        media = header(headers, b"content-type").lower()
        return super().request_peek(headers) if b"json" in media else None

    def wish(self, found: Found) -> Asked:
        """Return nothing: a member ``model`` of the request would be the handler's own word."""
        del found
        return Asked()
