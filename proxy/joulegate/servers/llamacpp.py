"""llama.cpp (``tools/server``)."""

from urllib.parse import quote

from joulegate.ports.servers import (
    AbandonedRequest,
    Leaving,
    Members,
    ServerAnswer,
    Sign,
    StopCall,
    Work,
    text,
)


class Plugin:
    """How joulegate deals with this server."""

    title = "llama.cpp"
    work: Work = "llm"
    owned_by = "llamacpp"
    signature = b"llama.cpp"
    question = "/props"
    version_page = "/props"
    gauge = "/slots"
    leaving = Leaving(
        "stops; not a chat with `X-Conversation-Id`",
        "`DELETE /v1/stream?conv_id=…` for such a chat",
        "`GET /slots`",
    )

    def recognise(self, members: Members) -> Sign | None:
        """Return what the answer shows, or ``None`` if it is another server's."""
        if "default_generation_settings" not in members:
            return None
        return Sign(text(members.get("build_info")))

    def running(self, answer: ServerAnswer) -> int | None:
        """Return the number of slots at work; ``None`` if the server does not tell."""
        slots = answer.document()
        if not isinstance(slots, list):
            return None
        return sum(isinstance(slot, dict) and slot.get("is_processing") is True for slot in slots)

    def stop(self, left: AbandonedRequest) -> StopCall | None:
        """Return what ends a chat that is generated on for a client that may come back."""
        conversation = left.fields.get(b"x-conversation-id")
        if not conversation:
            return None
        return StopCall("DELETE", f"/v1/stream?conv_id={quote(conversation.decode('latin-1'), safe='')}")
