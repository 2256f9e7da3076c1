"""What is known of one job, and when it ran by all that was heard. Pure."""

from typing import TypeVar

from msgspec import Struct, field
from msgspec.structs import replace

from joulegate.model import (
    Fact,
    FactSource,
    JobNote,
    JobSign,
    JobState,
    Node,
    Outcome,
    ServerTimings,
    SpanClosed,
    SpanId,
    Stage,
    TaskFacts,
)
from joulegate.units import Nanoseconds

Key = tuple[str, str]
"""Upstream and the server's id of the job."""
MOST_NODES = 1_000
"""Steps of one job that are told apart; a larger graph is a job without steps."""


class Moment(Struct, gc=False):
    """When something happened: between two instants, and where the server says."""

    low: Nanoseconds | None = None
    """It had not happened yet."""
    high: Nanoseconds | None = None
    """It had happened."""
    said: Nanoseconds | None = None
    """When it happened by the server's own clock."""

    def before(self, t: Nanoseconds) -> None:
        """Notify that it had not happened yet."""
        if self.low is None or t > self.low:
            self.low = t

    def after(self, t: Nanoseconds) -> None:
        """Notify that it had happened."""
        if self.high is None or t < self.high:
            self.high = t

    def exactly(self, t: Nanoseconds) -> None:
        """Notify that it happened just now."""
        self.low = self.high = t

    def at(self, slip: int = 0) -> Nanoseconds | None:
        """Return the best estimate: what the server said, as far as it is possible, else the middle."""
        if self.high is None:
            return None
        low = self.high if self.low is None else min(self.low, self.high)
        guess = (low + self.high) // 2 if self.said is None else self.said + slip
        return Nanoseconds(min(max(guess, low), self.high))

    def slip(self) -> int:
        """Return how far the server's clock must be off at least, in ns, for what it said to be possible."""
        if self.said is None or (now := self.at()) is None:
            return 0
        return now - self.said


class JobRecord(Struct, gc=False):
    """One job on its way: notes in any order, each as often as it comes."""

    key: Key
    touched: Nanoseconds
    """When it was last heard of."""
    span: SpanId | None = None
    """The request that submitted it."""
    gate: str = ""
    held: SpanClosed | None = None
    """The end of the exchange that submitted it."""
    told: Nanoseconds | None = None
    """When it began by what attribution was told."""
    began: Moment = field(default_factory=Moment)
    ended: Moment = field(default_factory=Moment)
    grain: Nanoseconds = Nanoseconds(0)
    """What the server says of instants is cut down to multiples of this."""
    outcome: Outcome | None = None
    facts: TaskFacts = TaskFacts()
    timings: ServerTimings = ServerTimings()
    model: str | None = None
    nodes: dict[str, Node] = {}
    marks: list[tuple[Nanoseconds, str]] = []
    """When each step began."""
    skipped: set[str] = set()
    keepers: dict[SpanId, str] = {}
    """Ids under which gates keep notes of it, beside its request, each with its gate."""
    recorded: bool = False
    """Its record is on disk."""

    def take(self, gate: str, note: JobNote) -> None:
        """Record what was heard."""
        sign = note.sign
        self.touched = max(self.touched, note.t)
        if note.own:
            self.span, self.gate = note.id, gate
        elif note.id != self.span:
            self.keepers[note.id] = gate
        self._place(note)
        self.facts = _merged(self.facts, sign.facts)
        self.timings = _merged(self.timings, sign.timings)
        self.model = sign.model or self.model
        self._stages(note.t, sign)

    def running(self) -> Nanoseconds | None:
        """Return when its work began; ``None`` while nothing says that it has."""
        return self.began.at(self._slip())

    @property
    def end(self) -> Nanoseconds | None:
        """When its work ended, never before it began."""
        ended, began = self.ended.at(self._slip()), self.running()
        return ended if ended is None or began is None else max(began, ended)

    def closed(self, held: SpanClosed, t: Nanoseconds, outcome: Outcome) -> SpanClosed:
        """Return the end of its request: what its exchange was, and what became of it."""
        return replace(
            held,
            t=t,
            outcome=outcome,
            client_left=None,  # it need not wait for the job
            facts=self._done(_merged(held.facts, self.facts)),
            timings=_merged(held.timings, self.timings),
            model=self.model or held.model,
            job=self.key[1],
            stages=self._timed(t),
        )

    def _done(self, facts: TaskFacts) -> TaskFacts:
        """Return the work without that of the steps whose results the server still had."""
        if not self.skipped or facts.steps is None:
            return facts
        steps = sum(node.steps for node in self.nodes.values() if node.name not in self.skipped)
        return replace(facts, steps=Fact(steps, FactSource.DERIVED))

    def _place(self, note: JobNote) -> None:
        sign, t = note.sign, note.t
        over = sign.state.outcome
        self.grain = max(self.grain, sign.grain)
        if sign.began is not None:
            self.began.said = _middle(sign.began, sign)
        if sign.ended is not None:
            self.ended.said = _middle(sign.ended, sign)
        if sign.state is JobState.ACCEPTED:
            self.began.before(t)
            self.ended.before(t)
        elif over is None:
            self.ended.before(t)
            self._happened(self.began, note)
        else:
            self.outcome = self.outcome or over
            self._happened(self.ended, note)
            if sign.began is not None:
                self.began.after(t)

    def _happened(self, moment: Moment, note: JobNote) -> None:
        if note.sign.pushed and moment.high is None:
            moment.exactly(note.t)
        elif moment.high is None or note.t < moment.high:
            moment.after(note.t)
            if note.last is not None:
                moment.before(note.last)

    def _slip(self) -> int:
        """The server's clock may be off: one shift for both ends, so that the time between them stays."""
        slip = self.began.slip() or self.ended.slip()
        return slip if abs(slip) > self.grain else 0

    def _stages(self, t: Nanoseconds, sign: JobSign) -> None:
        for node in sign.nodes[:MOST_NODES]:
            self.nodes.setdefault(node.name, node)
        self.skipped.update(sign.skipped[:MOST_NODES])
        if sign.node is not None and len(self.marks) < MOST_NODES and (t, sign.node) not in self.marks:
            self.marks.append((t, sign.node))
            self.marks.sort(key=lambda mark: mark[0])  # of those of one instant the first told began first

    def _timed(self, end: Nanoseconds) -> tuple[Stage, ...]:
        """Return each step with its time: from its mark to the next one."""
        times: dict[str, int] = {}
        for place, (t, name) in enumerate(self.marks):
            until = self.marks[place + 1][0] if place + 1 < len(self.marks) else end
            times[name] = times.get(name, 0) + max(until - t, 0)
        if not self.marks and not self.skipped:
            return ()
        for name in sorted(self.skipped):
            times.setdefault(name, 0)
        return tuple(
            Stage(self.nodes.get(name, Node(name)), Nanoseconds(time)) for name, time in times.items()
        )


def _middle(t: Nanoseconds, sign: JobSign) -> Nanoseconds:
    """Return the middle of the instants that are cut down to this one."""
    return Nanoseconds(t + sign.grain // 2)


T = TypeVar("T", TaskFacts, ServerTimings)


def _merged(known: T, new: T) -> T:
    """Return what is known with what is new."""
    told = {name: value for name in new.__struct_fields__ if (value := getattr(new, name)) is not None}
    return replace(known, **told) if told else known
