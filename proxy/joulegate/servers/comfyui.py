"""ComfyUI (``server.py``)."""

from joulegate.ports.servers import Leaving, Members, Sign, Work, text


class Plugin:
    """How joulegate deals with this server."""

    title = "ComfyUI"
    work: Work = "image"
    question = "/system_stats"
    leaving = Leaving("is a job: it outlives its exchange")

    def recognise(self, members: Members) -> Sign | None:
        """Return what the answer shows, or ``None`` if it is another server's."""
        system = members.get("system")
        if not isinstance(system, dict) or not isinstance(members.get("devices"), list):
            return None
        return Sign(text(system.get("comfyui_version")))
