"""KServe and MLServer (server metadata of the Open Inference Protocol)."""

from joulegate.ports.servers import Members, Sign, Work, text


class Plugin:
    """How joulegate deals with this server."""

    title = "KServe"
    work: Work = "auto"
    question = "/v2"

    def recognise(self, members: Members) -> Sign | None:
        """Return what the answer shows, or ``None`` if it is another server's."""
        name = members.get("name")
        if not isinstance(name, str) or name == "triton" or "extensions" not in members:
            return None
        return Sign(text(members.get("version")))
