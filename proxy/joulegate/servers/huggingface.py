"""Hugging Face Inference Toolkit. It shows no sign, so that only the configuration can name it."""

from joulegate.ports.servers import Work


class Plugin:
    """How joulegate deals with this server."""

    title = "Hugging Face Inference Toolkit"
    work: Work = "auto"
