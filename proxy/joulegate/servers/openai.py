"""Some server with a list of models in OpenAI's form, and no other sign."""

from joulegate.ports.servers import Work


class Plugin:
    """How joulegate deals with this server."""

    title = "OpenAI-compatible server"
    work: Work = "auto"
    owned_by = "*"

    def error(self, status: int, code: str, message: str) -> object:
        """Return an error as this server's clients read it."""
        kind = "invalid_request_error" if status < 500 else "server_error"
        return {"error": {"message": message, "type": kind, "param": None, "code": code}}
