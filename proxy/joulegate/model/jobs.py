"""Jobs: work that a server accepts at once and does after its answer.

A protocol's observer tells ``JobSign``: what one answer or message says of a job. The gate makes it a
``JobNote``: who saw it, when. The meter joins the notes of all gates to the request that submitted the job.
"""

from typing import TypeAlias

from msgspec import Struct

from joulegate.model.requests import (
    Asked,
    JobState,
    Node,
    ServerTimings,
    SpanChunks,
    SpanClosed,
    SpanFirstByte,
    SpanId,
    SpanJob,
    SpanOpened,
    Task,
    TaskFacts,
)
from joulegate.units import Nanoseconds


class Work(Struct, frozen=True, omit_defaults=True, gc=False):
    """What is to be metered, where one exchange begins several such works or none of its own."""

    task: Task
    asked: Asked = Asked()


class JobSign(Struct, frozen=True, omit_defaults=True, gc=False):
    """What one answer or message says of a job; everything but ``job`` and ``state`` may be unknown."""

    job: str
    """The server's own id of it."""
    state: JobState
    submitted: bool = False
    """The request of this very exchange is the job."""
    pushed: bool = False
    """The server said so when it happened, not when it was asked."""
    work: Work | None = None
    """The job begins here, as a request of its own beside that of the exchange."""
    began: Nanoseconds | None = None
    """When the work began: Unix time of the server; in a note on the clock of its ``t``."""
    ended: Nanoseconds | None = None
    """When it ended, likewise."""
    grain: Nanoseconds = Nanoseconds(1_000_000)
    """Both are cut down to a multiple of this."""
    facts: TaskFacts = TaskFacts()
    timings: ServerTimings = ServerTimings()
    model: str | None = None
    nodes: tuple[Node, ...] = ()
    """The steps that there are, where the submission says so."""
    node: str | None = None
    """The step that begins with this message."""
    skipped: tuple[str, ...] = ()
    """Steps whose results the server still had: they cost nothing."""


class JobNote(Struct, frozen=True, tag="note", omit_defaults=True, gc=False):
    """A gate learnt of a job: from its submission, from anyone's poll, or from a passing websocket."""

    id: SpanId
    """What the gate keeps it under until the job is settled: the request that submitted the job, or an id of
    the gate's own if that passed through another gate or before this one began."""
    t: Nanoseconds
    upstream: str
    sign: JobSign
    own: bool = False
    """``id`` is the request that submitted the job."""
    last: Nanoseconds | None = None
    """When this gate last heard of its state before."""


SpanEvent: TypeAlias = SpanOpened | SpanFirstByte | SpanChunks | SpanJob | SpanClosed | JobNote
"""What gates tell the meter. Notes end at the meter's joiner: attribution gets ``SpanJob`` in their place."""
