"""Text Embeddings Inference (``router/src/lib.rs``)."""

from joulegate.ports.servers import Members, Sign, Work, text


class Plugin:
    """How joulegate deals with this server."""

    title = "Text Embeddings Inference"
    work: Work = "llm"
    question = "/info"

    def recognise(self, members: Members) -> Sign | None:
        """Return what the answer shows, or ``None`` if it is another server's."""
        if "max_client_batch_size" not in members or not isinstance(members.get("model_type"), dict | str):
            return None
        return Sign(text(members.get("version")), (text(members.get("model_id")),))
