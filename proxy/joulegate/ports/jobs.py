"""What a protocol offers beyond ``protocols.py`` where its servers work after they have answered.

Both are optional: an observer that has ``jobs`` is asked, one that has ``message`` hears a websocket, and a
protocol that has ``inquiries`` lets the gate ask after a job when no traffic tells of it.
"""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from joulegate.model import JobSign
from joulegate.ports.protocols import InferenceProtocol, Observer
from joulegate.units import Nanoseconds


@runtime_checkable
class JobObserver(Observer, Protocol):
    """An observer that also learns of jobs: work that goes on after the answer that accepted it.

    Whoever submits a job, polls it, lists the history or cancels it: what the answer says is told alike, and
    the meter joins it. A job that the answer does not know is not told.
    """

    def jobs(self) -> Sequence[JobSign]:
        """Return what was learnt since the last call; asked at the end, and after each websocket message."""
        ...


@runtime_checkable
class WebsocketObserver(JobObserver, Protocol):
    """A job observer of a route that becomes a websocket: it hears what passed, after it has passed.

    A sign with ``work`` begins a request of its own, and one of the same job that has ended closes it: so a
    session of many answers has one record for each.
    """

    def message(self, t: Nanoseconds, data: bytes, *, text: bool, from_client: bool) -> None:
        """Accept one whole message, unmasked and inflated."""
        ...


@runtime_checkable
class JobProtocol(InferenceProtocol, Protocol):
    """A protocol whose jobs can be asked after."""

    def inquiries(self, path: str, job: str) -> Sequence[str]:
        """Return paths under which a job that was submitted to ``path`` can be asked after, the best first.

        The answer to a ``GET`` of one is read by this protocol's own observer of that route. If it does not
        tell of the job the next path is asked; one that the server does not know is not asked again.
        """
        ...
