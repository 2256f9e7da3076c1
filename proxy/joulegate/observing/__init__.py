"""What the observers of all protocols have in common: of any exchange, and of answers about jobs."""

from joulegate.observing.exchanges import MULTIPART, Listener, Members, PromptListener, header
from joulegate.observing.jobs import JobListener, KeptAnswer

__all__ = ["MULTIPART", "JobListener", "KeptAnswer", "Listener", "Members", "PromptListener", "header"]
