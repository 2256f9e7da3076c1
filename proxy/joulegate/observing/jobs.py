"""What the observers of answers about jobs have in common."""

from typing import ClassVar

from joulegate.model import JobSign
from joulegate.observing.exchanges import Listener
from joulegate.ports import Headers
from joulegate.units import Nanoseconds


class JobListener(Listener):
    """An observer of answers that are about jobs: they say what is done elsewhere and are no work themselves.

    A subclass appends to ``signs``. See ``ports.JobObserver``.
    """

    def __init__(self, headers: Headers, *, model: str | None = None) -> None:
        super().__init__(headers, model=model)
        self.signs: list[JobSign] = []

    def response_body(self, t: Nanoseconds, chunk: bytes) -> int:
        """Accept a part of the answer; none of it stands for generated work."""
        super().response_body(t, chunk)
        return 0

    def jobs(self) -> list[JobSign]:
        """Return what was learnt since the last call."""
        signs, self.signs = self.signs, []
        return signs


class KeptAnswer(JobListener):
    """Keeps a good answer and reads it as one piece, where what matters stands deep in lists or maps."""

    largest: ClassVar[int] = 4 << 20
    """Bytes of an answer that is read; a larger one tells nothing."""

    def __init__(self, headers: Headers, *, model: str | None = None) -> None:
        super().__init__(headers, model=model)
        self._kept: bytearray | None = bytearray()

    def response_body(self, t: Nanoseconds, chunk: bytes) -> int:
        """Keep a part of the answer; none of it stands for generated work."""
        del t
        if self.answered and self._kept is not None:
            self._kept += chunk
            if len(self._kept) > self.largest:
                self._kept = None
        return 0

    def response_end(self, *, complete: bool) -> None:
        """Read what is complete."""
        if complete and self._kept:
            self.read(bytes(self._kept))

    def read(self, answer: bytes) -> None:
        """Accept the whole answer: append what it tells to ``signs``."""
