"""What becomes of an exchange when something happens to it: one table, from stage and event to a step. Pure.

Whatever ends an exchange or an attempt passes through here: that a request is sent again, that the gate
answers in the upstream's place, that an answer is cut, that a server is stopped, and which outcome the meter
is told, is decided in this table and nowhere else.
"""

from enum import Enum, auto

from msgspec import Struct

from joulegate.gateway.http.upstream_connection import UpstreamConnection
from joulegate.model import Outcome, Phase
from joulegate.units import NANO, Nanoseconds

STALE = Nanoseconds(NANO)
"""Time in which a kept connection breaks that the upstream had closed already, for a request that may be
sent twice without harm."""
STALE_AT_ONCE = Nanoseconds(NANO // 50)
"""The same for any other request, beside three round trips: one that breaks later had been read from, and its
work may have begun. A request that had begun is not sent again (RFC 9110, section 9.2.2)."""
_IDEMPOTENT = frozenset({"GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"})
"""RFC 9110, sections 9.2.1 and 9.2.2."""


class ExchangeStage(Enum):
    """How far an exchange has come."""

    SENDING = auto()
    """A connection is being opened, or the request is on its way to the upstream."""
    WAITING = auto()
    """The upstream has the whole request; the client has nothing of an answer."""
    ANSWERING = auto()
    """The client has been sent a part of the answer."""
    SWITCHED = auto()
    """Both connections are joined and speak another protocol."""
    ABANDONED_WAITING = auto()
    """As ``WAITING``, but the client has left and the upstream may finish."""
    ABANDONED = auto()
    """As ``ANSWERING``, but the client has left and the upstream may finish."""
    OVER = auto()

    @property
    def phase(self) -> Phase:
        """How the meter is told of an exchange that ends in this stage."""
        return _PHASES[self]


_PHASES = {
    ExchangeStage.SENDING: Phase.REQUEST,
    ExchangeStage.WAITING: Phase.WAITING,
    ExchangeStage.ABANDONED_WAITING: Phase.WAITING,
    ExchangeStage.ANSWERING: Phase.RESPONSE,
    ExchangeStage.ABANDONED: Phase.RESPONSE,
    ExchangeStage.SWITCHED: Phase.RESPONSE,
    ExchangeStage.OVER: Phase.DONE,
}


class ExchangeEvent(Enum):
    """What can happen to an exchange beside that its bytes pass."""

    STALE = auto()
    """The upstream had closed this kept connection before it saw the request."""
    USAGE_REFUSED = auto()
    """The upstream does not know how to be asked for usage."""
    FAILED = auto()
    """No answer comes, or no more of it; the outcome says why."""
    ENDED = auto()
    """The answer is whole; the outcome is that of its status."""
    FAILED_WITHIN = auto()
    """The answer is whole and its status good, and it reports an error."""
    SATISFIED = auto()
    """The client has left after the answer said that its work is done: only framing was missing."""
    LEFT = auto()
    """The client has left, and the upstream is to stop."""
    LEFT_TO_FINISH = auto()
    """The client has left, and the upstream may finish."""
    GAVE_UP = auto()
    """The gate ends the exchange: the client's body did not come, or a fault of the gate's own."""
    SHUT_DOWN = auto()
    """The gate goes away."""


class Action(Enum):
    """What is done then."""

    SEND_AGAIN = auto()
    """Send the same request over a fresh connection."""
    SEND_PLAIN = auto()
    """Send the request again without asking for usage, and remember that this upstream refuses it."""
    REFUSE = auto()
    """Answer in the upstream's place."""
    CUT = auto()
    """Make the client see that its answer is not whole."""
    CLOSE = auto()
    """End; the client has all that it can get."""
    FINISH = auto()
    """Go on without the client."""
    STOP = auto()
    """Have the server stopped and watched until it has, if it can be; else close."""
    ABORT = auto()
    """Reset the client's connection."""
    NOTHING = auto()


class Step(Struct, frozen=True, gc=False):
    """A row of the table."""

    action: Action
    outcome: Outcome | None = None
    """How the request ended; ``None``: as the event says."""


_REFUSED, _CUT, _CLOSED = Step(Action.REFUSE), Step(Action.CUT), Step(Action.CLOSE)
_CANCELLED = Step(Action.CLOSE, Outcome.CANCELLED)
_STOPPED = Step(Action.STOP, Outcome.CANCELLED)
_FINISHING = Step(Action.FINISH)
_NOTHING = Step(Action.NOTHING)

TABLE: dict[ExchangeStage, dict[ExchangeEvent, Step]] = {
    ExchangeStage.SENDING: {
        ExchangeEvent.STALE: _REFUSED,
        ExchangeEvent.FAILED: _REFUSED,
        ExchangeEvent.LEFT: _CANCELLED,
        ExchangeEvent.LEFT_TO_FINISH: _CANCELLED,
        ExchangeEvent.GAVE_UP: _REFUSED,
    },
    ExchangeStage.WAITING: {
        ExchangeEvent.STALE: Step(Action.SEND_AGAIN),
        ExchangeEvent.USAGE_REFUSED: Step(Action.SEND_PLAIN),
        ExchangeEvent.FAILED: _REFUSED,
        ExchangeEvent.LEFT: _STOPPED,
        ExchangeEvent.LEFT_TO_FINISH: _FINISHING,
        ExchangeEvent.GAVE_UP: _REFUSED,
    },
    ExchangeStage.ANSWERING: {
        ExchangeEvent.FAILED: _CUT,
        ExchangeEvent.ENDED: _CLOSED,
        ExchangeEvent.FAILED_WITHIN: Step(Action.CLOSE, Outcome.UPSTREAM_ERROR),
        ExchangeEvent.SATISFIED: _CLOSED,
        ExchangeEvent.LEFT: _STOPPED,
        ExchangeEvent.LEFT_TO_FINISH: _FINISHING,
        ExchangeEvent.GAVE_UP: _CUT,
    },
    ExchangeStage.SWITCHED: {
        ExchangeEvent.FAILED: _CLOSED,
        ExchangeEvent.ENDED: _CLOSED,
        ExchangeEvent.LEFT: _CANCELLED,
        ExchangeEvent.LEFT_TO_FINISH: _CANCELLED,
        ExchangeEvent.GAVE_UP: _CLOSED,
    },
    ExchangeStage.ABANDONED_WAITING: {
        ExchangeEvent.STALE: _CANCELLED,
        ExchangeEvent.FAILED: _CANCELLED,
        ExchangeEvent.GAVE_UP: _CLOSED,
    },
    ExchangeStage.ABANDONED: {
        ExchangeEvent.FAILED: _CANCELLED,
        ExchangeEvent.ENDED: _CANCELLED,
        ExchangeEvent.FAILED_WITHIN: _CANCELLED,
        ExchangeEvent.GAVE_UP: _CLOSED,
    },
    ExchangeStage.OVER: {},
}
"""What is not here changes nothing: a client leaves once, and what is over stays so."""


def outcome_of(status: int | None) -> Outcome:
    """Return the outcome of an answer that reached the client whole."""
    if status is None or status < 400:
        return Outcome.OK
    return Outcome.CLIENT_ERROR if status < 500 else Outcome.UPSTREAM_ERROR


def decide(stage: ExchangeStage, event: ExchangeEvent) -> Step:
    """Return what is to be done."""
    if event is ExchangeEvent.SHUT_DOWN:
        return _NOTHING if stage is ExchangeStage.OVER else Step(Action.ABORT, Outcome.ORPHANED)
    return TABLE[stage].get(event, _NOTHING)


def failed(
    outcome: Outcome, connection: UpstreamConnection, method: str, waited: Nanoseconds
) -> ExchangeEvent:
    """Return what the failure of an attempt on a kept connection is, for a request that can be sent again.

    ``waited`` is the time since it was sent.
    """
    patience = STALE if method in _IDEMPOTENT else STALE_AT_ONCE + 3 * connection.round_trip
    fresh = waited < patience and not connection.answered
    return ExchangeEvent.STALE if fresh and outcome is Outcome.UPSTREAM_RESET else ExchangeEvent.FAILED
