"""Memory of the idle product: PSS of each of its processes, from /proc/PID/smaps_rollup.

``python bench/memory.py`` starts it with made-up watts before no server, waits until it is quiet, prints MiB.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil

SETTLING = 12.0
"""Seconds from the start until it is measured."""


def main() -> None:
    """Start, wait, measure, print, stop."""
    with tempfile.TemporaryDirectory() as folder:
        command = [
            *(
                sys.executable,
                "-m",
                "joulegate",
                "run",
                "--upstream",
                "http://127.0.0.1:1",
                "--source",
                "fake",
            ),
            *(
                "--listen",
                "127.0.0.1:0",
                "--admin",
                "127.0.0.1:0",
                "--ledger",
                f"{folder}/ledger.db",
                "--quiet",
            ),
        ]
        environment = {**os.environ, "XDG_RUNTIME_DIR": folder}
        with subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL) as running:
            try:
                time.sleep(SETTLING)
                found = list(measured(running.pid))
            finally:
                running.terminate()
    for name, kilobytes in found:
        print(f"{name:<12} {kilobytes / 1024:6.1f} MiB")
    print(f"{'all':<12} {sum(kilobytes for _, kilobytes in found) / 1024:6.1f} MiB")


def measured(pid: int) -> Iterator[tuple[str, int]]:
    """Return name and PSS in KiB of a process and of all below it."""
    top = psutil.Process(pid)
    yield "supervisor", pss(pid)
    for child in top.children(recursive=True):
        yield (
            next((word for word in child.cmdline()[1:] if word in {"gate", "meter"}), child.name()),
            pss(child.pid),
        )


def pss(pid: int) -> int:
    """Return the proportional set size of a process in KiB."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))


if __name__ == "__main__":
    main()
