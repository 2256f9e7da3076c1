"""What becomes of an exchange: the table, row by row."""

from typing import Any, cast

import pytest

from joulegate.gateway.exchange.decisions import (
    STALE,
    STALE_AT_ONCE,
    TABLE,
    Action,
    Event,
    Stage,
    Step,
    decide,
    failed,
)
from joulegate.gateway.http.upstream_connection import UpstreamConnection
from joulegate.model import Outcome, Phase
from joulegate.units import Nanoseconds

ROUND_TRIP = Nanoseconds(5_000_000)
UNDER_WAY = [stage for stage in Stage if stage is not Stage.OVER]


@pytest.mark.parametrize(
    ("stage", "event"),
    [(stage, event) for stage in UNDER_WAY for event in (Event.FAILED, Event.GAVE_UP, Event.SHUT_DOWN)]
    + [(stage, Event.STALE) for stage in (Stage.SENDING, Stage.WAITING, Stage.ABANDONED_WAITING)],
)
def test_what_goes_wrong_never_leaves_an_exchange_open(stage: Stage, event: Event) -> None:
    """Wherever it happens, the client is answered, cut or gone; or the request is sent again."""
    assert decide(stage, event).action not in {Action.NOTHING, Action.FINISH}


@pytest.mark.parametrize("event", Event)
def test_what_is_over_stays_so(event: Event) -> None:
    """Late callbacks of either connection change nothing."""
    assert decide(Stage.OVER, event) == Step(Action.NOTHING)


def test_a_request_is_sent_again_only_before_anything_of_an_answer_has_come() -> None:
    """Two rows, and both wait for an answer."""
    again = {
        (stage, event)
        for stage, rows in TABLE.items()
        for event, step in rows.items()
        if step.action in {Action.SEND_AGAIN, Action.SEND_PLAIN}
    }
    assert again == {(Stage.WAITING, Event.STALE), (Stage.WAITING, Event.USAGE_REFUSED)}


@pytest.mark.parametrize("stage", UNDER_WAY)
def test_the_gate_answers_only_a_client_that_has_nothing_yet(stage: Stage) -> None:
    """Once a part of an answer is out, what is missing can only be shown by a cut."""
    for event in (Event.FAILED, Event.GAVE_UP):
        action = decide(stage, event).action
        assert (action is Action.REFUSE) == (stage in {Stage.SENDING, Stage.WAITING})
        assert (action is Action.CUT) == (stage is Stage.ANSWERING)


@pytest.mark.parametrize(
    ("stage", "stops", "finishes"),
    [
        (Stage.SENDING, Action.CLOSE, Action.CLOSE),
        (Stage.WAITING, Action.STOP, Action.FINISH),
        (Stage.ANSWERING, Action.STOP, Action.FINISH),
        (Stage.SWITCHED, Action.CLOSE, Action.CLOSE),
        (Stage.ABANDONED_WAITING, Action.NOTHING, Action.NOTHING),
        (Stage.ABANDONED, Action.NOTHING, Action.NOTHING),
    ],
)
def test_a_client_that_leaves_stops_the_work_that_has_begun(
    stage: Stage, stops: Action, finishes: Action
) -> None:
    """Or lets it finish; where no work can have begun there is nothing to do but to end."""
    assert decide(stage, Event.LEFT).action is stops
    assert decide(stage, Event.LEFT_TO_FINISH).action is finishes


@pytest.mark.parametrize("stage", [Stage.ABANDONED_WAITING, Stage.ABANDONED])
def test_without_its_client_a_request_is_cancelled_however_it_ends(stage: Stage) -> None:
    """Nobody was cut: the client had left before."""
    assert decide(stage, Event.FAILED) == Step(Action.CLOSE, Outcome.CANCELLED)
    assert decide(Stage.ABANDONED, Event.ENDED) == Step(Action.CLOSE, Outcome.CANCELLED)


def test_each_stage_is_told_as_a_phase() -> None:
    """The meter knows four."""
    phases = [stage.phase for stage in Stage]
    assert phases == [
        Phase.REQUEST, Phase.WAITING, Phase.RESPONSE, Phase.RESPONSE, Phase.WAITING, Phase.RESPONSE,
        Phase.DONE,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("outcome", "answered", "method", "after", "event"),
    [
        (Outcome.UPSTREAM_RESET, False, "GET", STALE - 1, Event.STALE),
        (Outcome.UPSTREAM_RESET, False, "GET", STALE, Event.FAILED),
        (Outcome.UPSTREAM_RESET, False, "POST", 0, Event.STALE),
        (Outcome.UPSTREAM_RESET, False, "POST", STALE_AT_ONCE + 3 * ROUND_TRIP - 1, Event.STALE),
        (Outcome.UPSTREAM_RESET, False, "POST", STALE_AT_ONCE + 3 * ROUND_TRIP, Event.FAILED),
        (Outcome.UPSTREAM_RESET, False, "PATCH", STALE - 1, Event.FAILED),
        (Outcome.UPSTREAM_RESET, True, "GET", 0, Event.FAILED),
        (Outcome.UPSTREAM_PROTOCOL_ERROR, False, "GET", 0, Event.FAILED),
        (Outcome.UPSTREAM_TRUNCATED, False, "GET", 0, Event.FAILED),
    ],
)
def test_a_kept_connection_is_stale_only_if_it_broke_at_once_and_in_silence(
    outcome: Outcome, answered: bool, method: str, after: int, event: Event
) -> None:
    """In any other case the work may have begun; what does no harm twice has more time to show it."""
    connection: Any = UpstreamConnection(cast(Any, None), cast(Any, None), cast(Any, None))
    connection.answered = answered
    connection.round_trip = ROUND_TRIP
    assert failed(outcome, connection, method, Nanoseconds(after)) is event
