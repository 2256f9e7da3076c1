"""vLLM 0.33 (sources)."""

from joulegate.framing.samples import total
from joulegate.ports.servers import Leaving, ServerAnswer, Work


class Plugin:
    """How joulegate deals with this server."""

    title = "vLLM"
    work: Work = "llm"
    owned_by = "vllm"
    version_page = "/version"
    open_page = "/version"
    gauge = "/metrics"
    leaving = Leaving("stops", gauge="`GET /metrics`: running and waiting")

    _total = staticmethod(total(b"vllm:num_requests_running", b"vllm:num_requests_waiting"))

    def running(self, answer: ServerAnswer) -> int | None:
        """Return the number of requests that run or wait; ``None`` if the page does not tell."""
        return self._total(answer.body) if answer.status == 200 else None
