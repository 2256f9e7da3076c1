"""LMDeploy's own routes (https://github.com/InternLM/lmdeploy, lmdeploy/serve/openai/endpoints).

``/generate`` is answered as SGLang does (see ``protocols.sglang``), ``/pooling`` as vLLM does.
"""

from joulegate.model import WorkClass
from joulegate.observing import Listener, PromptListener
from joulegate.ports import About, Headers, Observer, Route

_ROUTES = {
    ("POST", "/get_ppl"): Route("lmdeploy.perplexity"),
    ("POST", "/v1/encode"): Route("lmdeploy.admin", work=WorkClass.ADMIN, reads_body=False),
    ("POST", "/wakeup"): Route("lmdeploy.load", work=WorkClass.MODEL_LOAD, reads_body=False),
    ("POST", "/update_weights"): Route("lmdeploy.load", work=WorkClass.MODEL_LOAD, reads_body=False),
    ("GET", "/distserve/engine_info"): Route("lmdeploy.probe", work=WorkClass.PROBE, reads_body=False),
}


class Plugin:
    """Knows what LMDeploy has beside OpenAI's and Anthropic's routes."""

    about = About(
        servers=("LMDeploy",),
        kinds=("lmdeploy",),
        routes=("POST /v1/encode", "POST /wakeup", "POST /update_weights", "GET /distserve/engine_info"),
        usage="`usage.prompt_tokens`",
        disconnect="stops",
    )

    def matches(self, method: str, path: str) -> Route | None:
        """Return the route, or ``None`` if LMDeploy has none of its own there."""
        return _ROUTES.get((method, path))

    def observer(self, route: Route, headers: Headers) -> Observer:
        """Return a fresh listener for one exchange."""
        return (PromptListener if route.work is WorkClass.INFERENCE else Listener)(headers, model=route.model)
