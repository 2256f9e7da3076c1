"""joulegate: measured GPU energy for each request to an inference server."""

__version__ = "0.1.0"
