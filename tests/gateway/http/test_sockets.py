"""Resets that are resets."""

import asyncio

import pytest

from joulegate.gateway.http.sockets import reset


@pytest.mark.parametrize("loop_name", ["asyncio", "uvloop"])
def test_a_reset_is_not_an_end(loop_name: str) -> None:
    """The peer gets an error, not the end of a stream, on either event loop."""

    async def scene() -> None:
        accepted: asyncio.Queue[asyncio.Transport] = asyncio.Queue()

        class Side(asyncio.Protocol):
            def connection_made(self, transport: asyncio.BaseTransport) -> None:
                accepted.put_nowait(transport)  # type: ignore[arg-type]

        server = await asyncio.get_running_loop().create_server(Side, "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        transport = await accepted.get()
        transport.write(b"partial")
        assert await reader.readexactly(7) == b"partial"
        reset(transport)
        with pytest.raises(ConnectionResetError):
            await asyncio.wait_for(reader.read(), 5)
        writer.close()
        server.close()

    loop = (
        pytest.importorskip("uvloop").new_event_loop() if loop_name == "uvloop" else asyncio.new_event_loop()
    )
    try:
        loop.run_until_complete(scene())
    finally:
        loop.close()
