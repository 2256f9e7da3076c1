"""What asyncio's transports cannot say themselves."""

import asyncio
import contextlib
import socket
import struct

_AT_ONCE = struct.pack("ii", 1, 0)
_IDLE, _INTERVAL, _PROBES = 60, 20, 3
"""Seconds, seconds and a count: a peer that is gone without a word is noticed after two minutes."""


def reset(transport: asyncio.Transport) -> None:
    """Close so that the peer sees a reset, not an end: ``abort`` alone ends a connection as ``close`` does.

    ``SO_LINGER`` with a time of zero, see socket(7) and RFC 9293, section 3.5.2.
    """
    peer = transport.get_extra_info("socket")
    if peer is not None and not transport.is_closing():
        with contextlib.suppress(OSError):
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
    transport.abort()


def keep_alive(transport: asyncio.BaseTransport, *, sends: bool = False) -> None:
    """Have the operating system see whether a silent peer is still there (tcp(7)).

    Firewalls and balancers drop what is idle, and a host that loses power says nothing. With ``sends`` data
    that nobody acknowledges for as long ends the connection too (``TCP_USER_TIMEOUT``, RFC 5482).
    """
    peer = transport.get_extra_info("socket")
    if peer is None or peer.family not in {socket.AF_INET, socket.AF_INET6}:
        return
    with contextlib.suppress(OSError):
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, _IDLE)
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, _INTERVAL)
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, _PROBES)
        if sends:
            milliseconds = (_IDLE + _INTERVAL * _PROBES) * 1_000
            peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, milliseconds)
