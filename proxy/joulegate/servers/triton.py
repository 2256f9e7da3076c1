"""Triton (server metadata of the Open Inference Protocol)."""

from joulegate.ports.servers import Leaving, Members, Sign, Work, text


class Plugin:
    """How joulegate deals with this server."""

    title = "Triton"
    work: Work = "auto"
    question = "/v2"
    leaving = Leaving("HTTP: assume that it works on")

    def recognise(self, members: Members) -> Sign | None:
        """Return what the answer shows, or ``None`` if it is another server's."""
        if members.get("name") != "triton" or "extensions" not in members:
            return None
        return Sign(text(members.get("version")))

    def error(self, status: int, code: str, message: str) -> object:
        """Return an error as this server's clients read it."""
        del status, code
        return {"error": message}
