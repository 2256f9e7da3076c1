"""stable-diffusion.cpp."""

from joulegate.ports.servers import Leaving, Members, Sign, Work, sign_of


class Plugin:
    """How joulegate deals with this server."""

    title = "stable-diffusion.cpp"
    work: Work = "image"
    imitates = ("a1111",)
    leaving = Leaving("is a job: it outlives its exchange")

    question = "/sdcpp/v1/capabilities"

    def recognise(self, members: Members) -> Sign | None:
        """Return what the answer shows, or ``None`` if it is another server's."""
        return sign_of(members, "current_mode")
