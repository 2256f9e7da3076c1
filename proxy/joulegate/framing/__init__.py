"""How bodies are cut into pieces and read in passing, and the words that all protocols find in them.

``records`` cuts streams into events and lines, ``peek``, ``scan`` and ``multipart`` look into bodies of any
size in constant memory, ``values`` and ``usage`` turn what was found into facts. Nothing here
changes a byte, knows a socket or reads a clock.
"""

from joulegate.framing.byte_ranges import ByteRange, spans
from joulegate.framing.multipart import MultipartPeek
from joulegate.framing.peek import HeadPeek, JsonPeek, Peek, PointerPeek
from joulegate.framing.pictures import PicturePeek, size_in
from joulegate.framing.records import LIMIT, EventSplitter, Frame, LineSplitter
from joulegate.framing.scan import Found, Scanner
from joulegate.framing.sound import SoundPeek
from joulegate.framing.template import EventTemplate
from joulegate.framing.usage import UsageReader, may_tell

__all__ = [
    "LIMIT",
    "ByteRange",
    "EventSplitter",
    "EventTemplate",
    "Found",
    "Frame",
    "HeadPeek",
    "JsonPeek",
    "LineSplitter",
    "MultipartPeek",
    "Peek",
    "PicturePeek",
    "PointerPeek",
    "Scanner",
    "SoundPeek",
    "UsageReader",
    "may_tell",
    "size_in",
    "spans",
]
