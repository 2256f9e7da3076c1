"""The relay: bytes, order and ends, against real sockets."""

from typing import Any

from joulegate.model import Outcome, Phase
from joulegate.testing.upstream import echo


async def test_an_answer_passes_and_its_span_is_told(start: Any, serve: Any) -> None:
    """What the upstream answers reaches the client, and the meter hears of it once."""
    bench = await start(await serve(echo))
    client = await bench.client()
    await client.ask(body=b'{"model":"m"}')
    status, fields, body = await client.answer()
    assert (status, body) == (200, b'{"model":"m"}')
    closed = await bench.events.closed()
    assert (closed.outcome, closed.phase, closed.status) == (Outcome.OK, Phase.DONE, 200)
    assert fields["joulegate-request-id"] == closed.id
    assert (await bench.events.opened()).asked.model == "m"
