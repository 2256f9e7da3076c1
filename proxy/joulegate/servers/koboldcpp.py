"""KoboldCpp."""

from joulegate.ports.servers import Leaving, Members, ServerAnswer, Sign, Work, text


class Plugin:
    """How joulegate deals with this server."""

    title = "KoboldCpp"
    work: Work = "auto"
    owned_by = "koboldcpp"
    question = "/api/extra/version"
    imitates = ("a1111", "llamacpp", "ollama")
    gauge = "/api/extra/perf"
    leaving = Leaving("stops streams", gauge="`GET /api/extra/perf`")

    def recognise(self, members: Members) -> Sign | None:
        """Return what the answer shows, or ``None`` if it is another server's."""
        if members.get("result") != "KoboldCpp":
            return None
        return Sign(text(members.get("version")))

    def running(self, answer: ServerAnswer) -> int | None:
        """Return the number of requests that run or wait; ``None`` if the answer does not tell."""
        members = answer.members()
        if "idle" not in members:
            return None
        queue = members.get("queue")
        return max(queue if isinstance(queue, int) else 0, int(not members["idle"]))
