"""One request as it came."""

import asyncio
from typing import Any, cast

from joulegate.gateway.http.body import BodyTerms, RequestBody
from joulegate.gateway.http.heads import request_head
from joulegate.gateway.http.incoming import Incoming
from joulegate.gateway.http.timers import Watchdog
from joulegate.units import Nanoseconds


async def test_a_request_has_ended_when_its_body_has() -> None:
    """One without a body has ended with its head."""
    head = request_head(b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 2")
    client = cast(Any, None)
    incoming = Incoming(client, head, Nanoseconds(0))
    assert incoming.ended
    watchdog = Watchdog(asyncio.get_running_loop(), lambda: Nanoseconds(0), Nanoseconds(1))
    terms = BodyTerms(Nanoseconds(1), lambda: Nanoseconds(0), watchdog)
    incoming.body = RequestBody(client, head, terms)
    incoming.body.feed(b"a")
    assert not incoming.ended
    incoming.body.feed(b"b")
    assert incoming.ended
