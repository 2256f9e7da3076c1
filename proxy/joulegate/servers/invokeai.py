"""InvokeAI."""

from joulegate.ports.servers import Leaving, Members, Sign, Work, sign_of


class Plugin:
    """How joulegate deals with this server."""

    title = "InvokeAI"
    work: Work = "image"
    leaving = Leaving("is a job: it outlives its exchange")

    question = "/api/v1/app/version"

    def recognise(self, members: Members) -> Sign | None:
        """Return what the answer shows, or ``None`` if it is another server's."""
        return sign_of(members, "version")
