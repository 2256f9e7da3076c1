"""What a gate heard of jobs, told to the meter; and which of them to ask after.

A job is told once for each thing that is new about it. The gate that took the submission keeps it under the
id of that request, any other one under an id of its own: both until the meter has settled the job.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import islice

from msgspec import Struct
from msgspec.structs import replace

from joulegate.config import UpstreamConfig
from joulegate.gateway.http.pool import Pool
from joulegate.gateway.policy.routing import upstream_target
from joulegate.gateway.spans.ids import SpanIds, model_name
from joulegate.gateway.spans.request_span import Identity, opened
from joulegate.model import (
    JobNote,
    JobSign,
    JobState,
    Outcome,
    SpanClosed,
    SpanId,
    Work,
    WorkClass,
)
from joulegate.ports import EventSink, Headers, JobProtocol
from joulegate.units import NANO, Nanoseconds

STILL = Nanoseconds(60 * NANO)
"""What is heard again and again is told so often: the meter learns that the job is still there."""
KNOWN = 20_000
"""Jobs that are recognised."""
FOLLOWED = 1_000
"""Jobs that are asked after at the same time."""
FIRST, LAST = Nanoseconds(NANO // 4), Nanoseconds(2 * NANO)
"""Shortest and usual time between two questions."""
ABREAST = 4
"""The oldest so many jobs of an upstream are asked after at the usual pace, later ones more seldom."""
SELDOM = Nanoseconds(60 * NANO)
_LONGEST_ID = 256
"""Characters of a job's id; longer ones are none."""

Clock = Callable[[], Nanoseconds]
Key = tuple[str, str]


class JobOrigin(Struct, frozen=True):
    """How a job came to its server, and how to ask after it."""

    upstream: str
    protocol: str
    inquiries: Callable[[str], Sequence[str]] | None = None
    """Gives the paths to ask, the best first."""
    credentials: Headers = ()
    """What the submitter showed to the server: it is asked with the same."""
    pool: Pool | None = None
    """Connections to the server that has the job."""


_SHOWN = {
    b"authorization", b"api-key", b"x-api-key", b"cookie", b"openai-organization", b"openai-project",
}  # fmt: skip
"""Fields by which a client shows a server who it is."""


def origin(
    protocol: object, name: str, target: UpstreamConfig, raw: str, headers: Headers, pool: Pool | None = None
) -> JobOrigin:
    """Return where the jobs of a request to this raw target come from."""
    if not target.follow_jobs or not isinstance(protocol, JobProtocol):
        return JobOrigin(target.name, name)
    path = upstream_target(target, raw.partition("?")[0])
    shown = [field for field in headers if field[0].lower() in _SHOWN]
    return JobOrigin(target.name, name, partial(protocol.inquiries, path), shown, pool)


class PolledJob(Struct, eq=False):
    """A job that is asked after."""

    job: str
    origin: JobOrigin
    identity: Identity
    paths: Sequence[str]
    due: Nanoseconds
    wait: Nanoseconds
    asking: bool = False
    known: bool = False
    """The server has told of it."""
    running: bool = False
    failures: int = 0

    @property
    def key(self) -> Key:
        """Return what it is known by."""
        return self.origin.upstream, self.job


class _KnownJob(Struct):
    upstream: str
    id: SpanId
    sign: JobSign
    heard: Nanoseconds
    told: Nanoseconds


class JobTracker:
    """All jobs that a gate has heard of lately."""

    def __init__(self, sink: EventSink, clock: Clock, wall: Clock) -> None:
        self.sink = sink
        self._clock = clock
        self._wall = wall
        self._ids = SpanIds()
        self._known: OrderedDict[Key, _KnownJob] = OrderedDict()
        self.followed: OrderedDict[Key, PolledJob] = OrderedDict()
        """The oldest first."""
        self.changed = asyncio.Event()
        """Set when there is a new job to follow, or one is due earlier."""

    def tell(
        self, identity: Identity, origin: JobOrigin, t: Nanoseconds, sign: JobSign, *, asked: bool = False
    ) -> None:
        """Tell the meter what is new; ``asked`` is what the gate itself has asked for."""
        if not 0 < len(sign.job) <= _LONGEST_ID:
            return
        key = origin.upstream, sign.job
        known = self._known.get(key)
        if sign.submitted or sign.work is not None:
            self._begin(identity, origin, t, sign)
            return
        if known is None:
            known = self._keep(key, _KnownJob(key[0], self._ids.fresh(self._wall()), sign, t, t))
            self._note(known, t, sign)
        elif known.sign.state.outcome is None:
            self._again(known, t, sign)
        self._heard(key, t, sign, asked=asked)

    def opened(self, identity: Identity, t: Nanoseconds, work: Work) -> SpanId:
        """Begin a request beside that of an exchange; return its id."""
        own = replace(identity, id=self._ids.fresh(self._wall()))
        self.sink.emit(opened(own, t, work.asked, task=work.task, work=WorkClass.INFERENCE))
        return own.id

    def _begin(self, identity: Identity, origin: JobOrigin, t: Nanoseconds, sign: JobSign) -> None:
        """Accept the submission of a job: by the exchange that is its request, or as one beside it."""
        key = origin.upstream, sign.job
        if sign.work is not None:
            identity = replace(identity, id=self.opened(identity, t, sign.work))
        known = self._keep(key, _KnownJob(key[0], identity.id, sign, t, t))
        self._note(known, t, sign, own=True)
        if sign.work is not None:
            self.sink.emit(SpanClosed(identity.id, t, Outcome.OK))
        if sign.state.outcome is None:
            self._follow(identity, origin, t, sign)

    def _again(self, known: _KnownJob, t: Nanoseconds, sign: JobSign) -> None:
        merged = _merged(known.sign, sign)
        if merged == known.sign and t - known.told < STILL:
            known.heard = t
            return
        last = known.heard if sign.state is not known.sign.state else None
        known.sign, known.heard, known.told = merged, t, t
        self._note(known, t, sign, last=last)

    def _note(
        self,
        known: _KnownJob,
        t: Nanoseconds,
        sign: JobSign,
        *,
        own: bool = False,
        last: Nanoseconds | None = None,
    ) -> None:
        offset = self._wall() - self._clock()
        told = replace(
            sign,
            work=None,
            began=None if sign.began is None else Nanoseconds(sign.began - offset),
            ended=None if sign.ended is None else Nanoseconds(sign.ended - offset),
            model=model_name(sign.model),
        )
        self.sink.emit(JobNote(known.id, t, known.upstream, told, own=own, last=last))

    def _keep(self, key: Key, known: _KnownJob) -> _KnownJob:
        self._known[key] = known
        self._known.move_to_end(key)
        if len(self._known) > KNOWN:
            self._known.popitem(last=False)
        return known

    # --- following -----------------------------------------------------------------------------------

    def _follow(self, identity: Identity, origin: JobOrigin, t: Nanoseconds, sign: JobSign) -> None:
        paths = origin.inquiries(sign.job) if origin.inquiries else ()
        if not paths or len(self.followed) >= FOLLOWED:
            return
        followed = PolledJob(sign.job, origin, identity, paths, Nanoseconds(t + FIRST), FIRST)
        self.followed[followed.key] = followed
        followed.due = Nanoseconds(t + self._pace(followed))
        self.changed.set()

    def _heard(self, key: Key, t: Nanoseconds, sign: JobSign, *, asked: bool) -> None:
        followed = self.followed.get(key)
        if followed is None:
            return
        if sign.state.outcome is not None:
            self.drop(followed, t)
            return
        if sign.state is JobState.RUNNING and not followed.running:
            followed.running, followed.wait = True, FIRST
        if not asked:  # the traffic tells by itself
            followed.wait = LAST
            followed.due = Nanoseconds(t + LAST)

    def schedule(self, followed: PolledJob, now: Nanoseconds) -> None:
        """Choose when to ask again."""
        followed.due = Nanoseconds(now + self._pace(followed))
        followed.wait = min(Nanoseconds(followed.wait * 3 // 2), LAST)
        self.changed.set()

    def drop(self, followed: PolledJob, now: Nanoseconds) -> None:
        """Ask no more after a job; the next in the queue may run now."""
        self.followed.pop(followed.key, None)
        for other in islice(self._beside(followed), ABREAST):
            other.due = min(other.due, Nanoseconds(now + FIRST))
            other.wait = FIRST
        self.changed.set()

    def _pace(self, followed: PolledJob) -> Nanoseconds:
        place = 0
        for other in self._beside(followed):
            if other is followed:
                break
            place += 1
        if place < ABREAST:
            return followed.wait
        return min(Nanoseconds(LAST * (1 + place // ABREAST)), SELDOM)

    def _beside(self, followed: PolledJob) -> Iterable[PolledJob]:
        upstream = followed.origin.upstream
        return (other for other in self.followed.values() if other.origin.upstream == upstream)


_ADDS = ("began", "ended", "facts", "timings", "model", "nodes", "node", "skipped")
_BLANK = JobSign("", JobState.ACCEPTED)


def _merged(known: JobSign, new: JobSign) -> JobSign:
    """Return what is known of a job with what a sign says beyond it."""
    added = {name: value for name in _ADDS if (value := getattr(new, name)) != getattr(_BLANK, name)}
    return replace(known, state=new.state, **added)
