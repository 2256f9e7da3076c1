"""The second process: an image server with a queue of one, or a stranger's matrix products.

It loads its model, says ``ready``, waits for the line that the experiment sends, and answers with one line
of JSON: what it did when, in monotonic nanoseconds, which all processes of a host share.
"""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import backend
import shapes
from traffic import ImageAsk


class Worker:
    """A worker as the experiment sees it."""

    def __init__(self, role: str, device: str, kind: str, size: str) -> None:
        command = [sys.executable, str(Path(__file__).resolve()), role, device, kind, size]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.pid = self._process.pid
        if (said := self._line()) != "ready":
            raise RuntimeError(f"the {role} process said {said!r}")

    def order(self, **words: Any) -> None:
        """Begin a job."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(words) + "\n")
        self._process.stdin.flush()

    def result(self) -> Any:
        """Wait for the job's end and return its log."""
        return json.loads(self._line())

    def close(self) -> None:
        """End the process."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()

    def _line(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the process {self.pid} ended: {self._process.wait()}")
        return line.strip()


def draw(unet: backend.Unet, asks: list[ImageAsk], begin: int, end: int) -> list[dict[str, Any]]:
    """Make images one after the other, in order of arrival; a row for each with the times of its steps."""
    rows = []
    for ask in asks:
        wait_until(begin + ask.at)
        row: dict[str, Any] = {**asdict(ask), "arrived": begin + ask.at, "steps_at": []}
        for _ in range(ask.steps):
            begun = time.monotonic_ns()
            if begun >= end:
                break
            unet.step(ask.latent, 1)
            row["steps_at"].append([begun, time.monotonic_ns()])
        row["ended"] = time.monotonic_ns()
        rows.append(row)
    return rows


def burn(product: Callable[[], None], begin: int, end: int) -> list[list[int]]:
    """Multiply from ``begin`` to ``end``; gives the spans of work."""
    wait_until(begin)
    spans = []
    while (begun := time.monotonic_ns()) < end:
        product()
        spans.append([begun, time.monotonic_ns()])
    return spans


def wait_until(t: int) -> None:
    time.sleep(max(t - time.monotonic_ns(), 0) / 1e9)


def main(role: str, device: str, kind: str, size: str) -> None:
    made = backend.make(device, kind)
    chosen = shapes.SIZES[size]
    work: Callable[[dict[str, Any]], Any]
    if role == "unet":
        unet = made.unet(chosen.unet)
        for latent in chosen.latents:
            unet.step(latent, 1)
        work = lambda order: draw(  # noqa: E731
            unet, [ImageAsk(**one) for one in order["asks"]], order["begin"], order["end"]
        )
    else:
        product = made.burn(chosen.burn)
        product()
        work = lambda order: burn(product, order["begin"], order["end"])  # noqa: E731
    print("ready", flush=True)
    for line in sys.stdin:
        print(json.dumps(work(json.loads(line))), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
