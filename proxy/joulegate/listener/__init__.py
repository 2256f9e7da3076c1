"""What the observers of all protocols have in common: of any exchange, and of answers about jobs."""

from joulegate.listener.exchanges import MULTIPART, Listener, Members, Reading, header
from joulegate.listener.jobs import JobListener, KeptAnswer

__all__ = ["MULTIPART", "JobListener", "KeptAnswer", "Listener", "Members", "Reading", "header"]
