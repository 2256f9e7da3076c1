"""TorchServe."""

from joulegate.ports.servers import Members, Sign, Work, sign_of


class Plugin:
    """How joulegate deals with this server."""

    title = "TorchServe"
    work: Work = "auto"

    question = "/ping"

    def recognise(self, members: Members) -> Sign | None:
        """Return what the answer shows, or ``None`` if it is another server's."""
        return sign_of(members, "status")

    def error(self, status: int, code: str, message: str) -> object:
        """Return an error as this server's clients read it."""
        return {"code": status, "type": code, "message": message}
