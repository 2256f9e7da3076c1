"""LMDeploy 0.18 (sources)."""

from joulegate.ports.servers import Work


class Plugin:
    """How joulegate deals with this server."""

    title = "LMDeploy"
    work: Work = "llm"
    owned_by = "lmdeploy"
