"""Recorded traces run through the very settlement code of the meter, on a virtual clock."""

from joulegate.replay.result import Books, Result, document
from joulegate.replay.run import METHODS, replay
from joulegate.replay.traces import Trace, read

__all__ = ["METHODS", "Books", "Result", "Trace", "document", "read", "replay"]
