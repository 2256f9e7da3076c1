"""Text Generation Inference (``router/src/server.rs``)."""

from joulegate.framing.samples import total
from joulegate.ports.servers import Leaving, Members, ServerAnswer, Sign, Work, text


class Plugin:
    """How joulegate deals with this server."""

    title = "Text Generation Inference"
    work: Work = "llm"
    question = "/info"
    gauge = "/metrics"
    leaving = Leaving("stops at the next step", gauge="`GET /metrics`: batch and queue")

    _total = staticmethod(total(b"tgi_batch_current_size", b"tgi_queue_size"))

    def recognise(self, members: Members) -> Sign | None:
        """Return what the answer shows, or ``None`` if it is another server's."""
        if members.get("router") != "text-generation-router":
            return None
        return Sign(text(members.get("version")), (text(members.get("model_id")),))

    def running(self, answer: ServerAnswer) -> int | None:
        """Return the number of requests that run or wait; ``None`` if the page does not tell."""
        return self._total(answer.body) if answer.status == 200 else None
