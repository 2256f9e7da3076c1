"""TensorRT-LLM 1.0 (sources). Its page of metrics is emptied by a look and therefore never read."""

from joulegate.ports.servers import Work


class Plugin:
    """How joulegate deals with this server."""

    title = "TensorRT-LLM"
    work: Work = "auto"
    owned_by = "tensorrt_llm"
    version_page = "/version"
