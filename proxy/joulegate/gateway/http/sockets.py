"""What asyncio's transports cannot say themselves."""

import asyncio
import contextlib
import socket
import struct

_AT_ONCE = struct.pack("ii", 1, 0)


def reset(transport: asyncio.Transport) -> None:
    """Close so that the peer sees a reset, not an end: ``abort`` alone ends a connection as ``close`` does.

    ``SO_LINGER`` with a time of zero, see socket(7) and RFC 9293, section 3.5.2.
    """
    peer = transport.get_extra_info("socket")
    if peer is not None and not transport.is_closing():
        with contextlib.suppress(OSError):
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
    transport.abort()
