"""What one exchange learns of jobs, told to the meter."""

from collections.abc import Iterable

from msgspec.structs import replace

from joulegate.gateway.http.pool import Pool
from joulegate.gateway.jobs.job_tracker import JobOrigin, JobTracker
from joulegate.gateway.spans.ids import model_name
from joulegate.gateway.spans.request_span import Identity
from joulegate.model import JobSign, Outcome, Phase, SpanClosed, SpanFirstByte, SpanId
from joulegate.units import Nanoseconds

TURNS = 64
"""Works at the same time over one connection."""


class JobReporter:
    """What one exchange learns of jobs.

    Works that the server pushes, one after the other over one connection, are requests of their own that
    begin and end here: the answers of a realtime session.
    """

    __slots__ = ("_identity", "_jobs", "_origin", "_turns")

    def __init__(self, jobs: JobTracker, identity: Identity, origin: JobOrigin) -> None:
        self._jobs = jobs
        self._identity = identity
        self._origin = origin
        self._turns: dict[str, SpanId] = {}

    def tell(self, t: Nanoseconds, signs: Iterable[JobSign]) -> None:
        """Tell the meter."""
        for sign in signs:
            turn = self._turns.get(sign.job)
            if turn is not None:
                self._go_on(turn, t, sign)
            elif sign.work is not None and sign.pushed:
                if len(self._turns) < TURNS:
                    self._turns[sign.job] = self._jobs.opened(self._identity, t, sign.work)
            else:
                self._jobs.tell(self._identity, self._origin, t, sign)

    def moved(self, pool: Pool) -> None:
        """Record that another server got the request, before it was sent."""
        self._origin = replace(self._origin, pool=pool)

    def end(self, t: Nanoseconds, outcome: Outcome) -> None:
        """Cut what is under way with the connection that it came by."""
        cut = Outcome.CANCELLED if outcome is Outcome.OK else outcome
        for turn in self._turns.values():
            self._jobs.sink.emit(SpanClosed(turn, t, cut, phase=Phase.RESPONSE))
        self._turns.clear()

    def _go_on(self, turn: SpanId, t: Nanoseconds, sign: JobSign) -> None:
        outcome = sign.state.outcome
        if outcome is None:
            self._jobs.sink.emit(SpanFirstByte(turn, t))
            return
        del self._turns[sign.job]
        self._jobs.sink.emit(
            SpanClosed(turn, t, outcome, facts=sign.facts, timings=sign.timings, model=model_name(sign.model))
        )
