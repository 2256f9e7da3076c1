"""Who a gate is: a name that no other gate on any host has, now or later."""

import socket
from pathlib import Path
from uuid import uuid4

LONGEST_HOST = 24
"""Characters of the host's name in a gate's."""
BOOT = Path("/proc/sys/kernel/random/boot_id")
TIME_NAMESPACE = Path("/proc/self/ns/time")


def gate_name() -> str:
    """Return a new name for this process: its host, the first digits of the host's boot, and random ones."""
    host = "".join(c for c in socket.gethostname().partition(".")[0] if c.isalnum() or c in "-_")
    return "-".join(filter(None, [host[:LONGEST_HOST], boot()[:4], uuid4().hex[:6]]))


def boot() -> str:
    """Return the identity of this boot of the host; empty where the system does not tell."""
    try:
        return BOOT.read_text().strip()
    except OSError:
        return ""


def clock_id() -> str:
    """Return the identity of the monotonic clock of this process: two with the same one read the same time.

    Containers of one host may have clocks of their own. Where the system does not
    tell, it is the host's name.
    """
    try:
        return f"{boot() or socket.gethostname()} {TIME_NAMESPACE.readlink()}"
    except OSError:  # a kernel without time namespaces
        return boot() or socket.gethostname()
