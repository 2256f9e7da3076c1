"""Ollama."""

from joulegate.ports.servers import Leaving, Members, Sign, Work, sign_of


class Plugin:
    """How joulegate deals with this server."""

    title = "Ollama"
    work: Work = "llm"
    owned_by = "library"
    version_page = "/api/version"
    leaving = Leaving("stops when it next sends, so a long prompt is read to its end")

    question = "/api/version"

    def recognise(self, members: Members) -> Sign | None:
        """Return what the answer shows, or ``None`` if it is another server's."""
        return sign_of(members, "version")

    def error(self, status: int, code: str, message: str) -> object:
        """Return an error as this server's clients read it."""
        del status, code
        return {"error": message}
