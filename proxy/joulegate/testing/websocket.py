"""The two directions of a recorded websocket, played to an observer."""

from collections.abc import Sequence
from contextlib import suppress

from joulegate.framing.websocket import BrokenWebsocket, WebsocketReader, compresses
from joulegate.ports import Headers, Observer, WebsocketObserver
from joulegate.units import Nanoseconds


def hear(observer: Observer, answer: Headers, sent: Sequence[bytes], received: Sequence[bytes]) -> None:
    """Let an observer hear what the client sent, then what the server did; ``answer`` is the 101's head."""
    if not isinstance(observer, WebsocketObserver):
        return
    fields = [value for name, value in answer if name.lower() == b"sec-websocket-extensions"]
    deflate = compresses(b",".join(fields))
    for from_client, parts in ((True, sent), (False, received)):
        reader = WebsocketReader(deflate=deflate)
        with suppress(BrokenWebsocket):
            for part in parts:
                for data, text in reader.feed(part):
                    observer.message(Nanoseconds(0), data, text=text, from_client=from_client)
