"""infinity-emb 0.0.78 (sources)."""

from joulegate.ports.servers import Work


class Plugin:
    """How joulegate deals with this server."""

    title = "Infinity"
    work: Work = "llm"
    owned_by = "infinity"
