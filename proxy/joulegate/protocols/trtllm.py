"""TensorRT-LLM's own routes (https://github.com/NVIDIA/TensorRT-LLM, tensorrt_llm/serve/openai_server.py).

It works by OpenAI's routes. ``/perf_metrics`` forgets what it has told, so that whoever asks for it should be
the only one: joulegate does not.
"""

from joulegate.model import WorkClass
from joulegate.observing import Listener
from joulegate.ports import About, Headers, Observer, Route

_ADMIN = Route("trtllm.admin", work=WorkClass.ADMIN, reads_body=False)
_LOAD = Route("trtllm.load", work=WorkClass.MODEL_LOAD, reads_body=False)
_PROBE = Route("trtllm.probe", work=WorkClass.PROBE, reads_body=False)
_ROUTES = {
    ("GET", "/perf_metrics"): _PROBE,
    ("GET", "/energy_metrics"): _PROBE,
    ("GET", "/prometheus/metrics"): _PROBE,
    ("GET", "/steady_clock_offset"): _PROBE,
    ("GET", "/server_info"): _PROBE,
    ("POST", "/steady_clock_offset"): _ADMIN,
    ("POST", "/kv_cache_events"): _ADMIN,
    ("POST", "/release_memory"): _LOAD,
    ("POST", "/resume_memory"): _LOAD,
    ("POST", "/update_weights"): _LOAD,
}


class Plugin:
    """Knows what TensorRT-LLM has beside OpenAI's routes: none of it is inference."""

    about = About(
        servers=("TensorRT-LLM serve",),
        kinds=("trtllm",),
        routes=(
            "GET /energy_metrics",
            "GET /prometheus/metrics",
            "POST /release_memory",
            "POST /update_weights",
        ),
        usage="as OpenAI's",
    )

    def matches(self, method: str, path: str) -> Route | None:
        """Return the route, or ``None`` if TensorRT-LLM has none of its own there."""
        return _ROUTES.get((method, path))

    def observer(self, route: Route, headers: Headers) -> Observer:
        """Return a fresh listener for one exchange."""
        return Listener(headers, model=route.model)
