"""An inference server of one's own: the example of docs/plugins.md.

It says what it is at ``GET /about``, how many requests it works on at ``GET /load``, and works on after its
client has left until ``DELETE /jobs/<id>``, where the client has chosen the id.
"""

from urllib.parse import quote

from joulegate.ports.servers import AbandonedRequest, Members, ServerAnswer, Sign, StopCall, Work, text


class Plugin:
    """How joulegate deals with this server."""

    title = "Captioner"
    work: Work = "llm"
    question = "/about"
    gauge = "/load"

    def recognise(self, members: Members) -> Sign | None:
        """Return what the answer shows, or ``None`` if it is another server's."""
        if members.get("name") != "captioner":
            return None
        return Sign(version=text(members.get("version")), models=(text(members.get("network")),))

    def running(self, answer: ServerAnswer) -> int | None:
        """Return the number of requests that run or wait; ``None`` if the answer does not tell."""
        count = answer.members().get("requests")
        return count if isinstance(count, int) else None

    def stop(self, left: AbandonedRequest) -> StopCall | None:
        """Return the call that ends this request, or ``None`` where closing its connection is enough."""
        number = left.fields.get(b"x-work-id")
        return StopCall("DELETE", f"/jobs/{quote(number.decode('latin-1'), safe='')}") if number else None

    def error(self, status: int, code: str, message: str) -> object:
        """Return the document of an error of joulegate's own, as this server's clients read them."""
        return {"failed": {"status": status, "why": message, "code": code}}
