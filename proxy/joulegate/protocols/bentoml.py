"""BentoML's task routes (src/_bentoml_impl/server of https://github.com/bentoml/BentoML).

A service chooses its own paths, so nothing can be known of them but by ``[[route]]`` rules. Fixed is only
what a task adds to its path: ``/submit`` accepts it, ``/status``, ``/get``, ``/retry`` and ``/cancel`` look
after it by ``task_id``; and the pages that describe the service.
"""

import re

from joulegate.model import WorkClass
from joulegate.observing import Listener
from joulegate.ports import About, Headers, Observer, Route

_SUBMIT = re.compile(r"/[^/]+/(?:submit|retry)")
_LOOK = re.compile(r"/[^/]+/(?:status|get)")
_CANCEL = re.compile(r"/[^/]+/cancel")
_TASK = Route("task", dialect="triton")
_ADMIN = Route("task.admin", work=WorkClass.ADMIN, reads_body=False, dialect="triton")
_PROBE = Route("probe", work=WorkClass.PROBE, reads_body=False, dialect="triton")
_PAGES = frozenset({"/schema.json", "/docs.json"})


class Plugin:
    """Knows tasks and descriptions; the service's own routes are ``generic`` or have rules."""

    about = About(
        servers=("BentoML 1.4.40",),
        kinds=("bentoml",),
        routes=("POST /generate/retry", "PUT /generate/cancel", "GET /generate/get", "GET /schema.json"),
        usage="none; places can be given by `[[route]]`",
        streaming="the service's own",
        jobs="`/submit` is metered as a request of its own; the task behind it is not followed",
        disconnect="goes on: no check in the package",
    )

    def matches(self, method: str, path: str) -> Route | None:
        """Return the route, or ``None`` if it is the service's own."""
        if method == "POST":
            return _TASK if _SUBMIT.fullmatch(path) else None
        if method == "GET":
            return _PROBE if path in _PAGES else _ADMIN if _LOOK.fullmatch(path) else None
        return _ADMIN if method == "PUT" and _CANCEL.fullmatch(path) else None

    def observer(self, route: Route, headers: Headers) -> Observer:
        """Return a fresh listener for one exchange."""
        return Listener(headers, model=route.model)
