"""Some server with a list of models in OpenAI's form, and no other sign."""

from joulegate.ports.servers import Work


class Plugin:
    """How joulegate deals with this server."""

    title = "OpenAI-compatible server"
    work: Work = "auto"
    owned_by = "*"
