"""SGLang 0.5.23 (sources)."""

from joulegate.ports.servers import Leaving, Members, ServerAnswer, Sign, Work, sign_of


class Plugin:
    """How joulegate deals with this server."""

    title = "SGLang"
    work: Work = "auto"
    owned_by = "sglang"
    version_page = "/get_server_info"
    gauge = "/get_load"
    leaving = Leaving("stops", gauge="`GET /get_load`")

    question = "/get_model_info"

    def recognise(self, members: Members) -> Sign | None:
        """Return what the answer shows, or ``None`` if it is another server's."""
        return sign_of(members, "model_path", "is_generation")

    def running(self, answer: ServerAnswer) -> int | None:
        """Return the number of requests of all ranks; ``None`` if the answer does not tell."""
        loads = answer.document()
        rows = loads if isinstance(loads, list) else [loads]
        counts = [row.get("num_reqs") for row in rows if isinstance(row, dict)]
        known = [count for count in counts if isinstance(count, int) and count >= 0]
        return sum(known) if known else None
