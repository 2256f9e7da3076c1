"""Everything that no other protocol knows: relayed, metered, its task unknown.

Model, usage and timings are read where a server puts them in the usual places; the rest is counted in bytes.
Paths that are known to be no inference keep out of every task's figures. Routes that the configuration knows
(``[[route]]``) come here with the places of their values.
"""

from joulegate.model import WorkClass
from joulegate.observing import Listener
from joulegate.ports import About, Headers, Observer, Route
from joulegate.protocols.generic.pointer_observer import PointerObserver

_PROBES = frozenset({
    "/", "/health", "/healthz", "/livez", "/live", "/ready", "/readyz", "/ping",
    "/version", "/metrics", "/favicon.ico", "/docs", "/openapi.json",
})  # fmt: skip
"""Asked by load balancers, scrapers and browsers."""

_LOADS = frozenset({
    "/load_model", "/v1/load_lora_adapter", "/v1/unload_lora_adapter", "/sleep", "/wake_up",
    "/update_weights_from_disk",
})  # fmt: skip
_ADMIN = frozenset({"/start_profile", "/stop_profile", "/reset_prefix_cache", "/flush_cache"})

_OTHER = Route("other", dialect="plain")
_PROBE = Route("probe", work=WorkClass.PROBE, reads_body=False, dialect="plain")
_LOAD = Route("load", work=WorkClass.MODEL_LOAD, dialect="plain")
_CONTROL = Route("control", work=WorkClass.ADMIN, reads_body=False, dialect="plain")


class Plugin:
    """Knows every route; it is asked last."""

    about = About(
        servers=("any",),
        usage="`model`, `usage` and timings where most servers have them; other places by `[[route]]`, see "
        "[routes](routes.md)",
        streaming="events and lines of JSON",
        disconnect="as the server behind it",
    )

    def matches(self, method: str, path: str) -> Route:
        """Return the class of work of a path; what nothing is known of counts as inference."""
        if method in ("HEAD", "OPTIONS"):
            return _PROBE
        if path in _LOADS:
            return _LOAD
        if path in _ADMIN:
            return _CONTROL
        return _PROBE if method == "GET" and path in _PROBES else _OTHER

    def observer(self, route: Route, headers: Headers) -> Observer:
        """Return a fresh listener for one exchange."""
        return PointerObserver(headers, route) if route.places else Listener(headers, model=route.model)
