"""LocalAI."""

from joulegate.ports.servers import Members, Sign, Work, sign_of


class Plugin:
    """How joulegate deals with this server."""

    title = "LocalAI"
    work: Work = "auto"
    imitates = ("ollama",)
    version_page = "/version"

    question = "/system"

    def recognise(self, members: Members) -> Sign | None:
        """Return what the answer shows, or ``None`` if it is another server's."""
        return sign_of(members, "backends", "loaded_models")
