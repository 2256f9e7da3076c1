"""What becomes of an exchange: the table, row by row."""

from typing import Any, cast

import pytest

from joulegate.gateway.exchange.decisions import (
    STALE,
    STALE_AT_ONCE,
    TABLE,
    Action,
    ExchangeEvent,
    ExchangeStage,
    Step,
    decide,
    failed,
)
from joulegate.gateway.http.upstream_connection import UpstreamConnection
from joulegate.model import Outcome, Phase
from joulegate.units import Nanoseconds

ROUND_TRIP = Nanoseconds(5_000_000)
UNDER_WAY = [stage for stage in ExchangeStage if stage is not ExchangeStage.OVER]


@pytest.mark.parametrize(
    ("stage", "event"),
    [
        (stage, event)
        for stage in UNDER_WAY
        for event in (ExchangeEvent.FAILED, ExchangeEvent.GAVE_UP, ExchangeEvent.SHUT_DOWN)
    ]
    + [
        (stage, ExchangeEvent.STALE)
        for stage in (ExchangeStage.SENDING, ExchangeStage.WAITING, ExchangeStage.ABANDONED_WAITING)
    ],
)
def test_what_goes_wrong_never_leaves_an_exchange_open(stage: ExchangeStage, event: ExchangeEvent) -> None:
    """Wherever it happens, the client is answered, cut or gone; or the request is sent again."""
    assert decide(stage, event).action not in {Action.NOTHING, Action.FINISH}


@pytest.mark.parametrize("event", ExchangeEvent)
def test_what_is_over_stays_so(event: ExchangeEvent) -> None:
    """Late callbacks of either connection change nothing."""
    assert decide(ExchangeStage.OVER, event) == Step(Action.NOTHING)


def test_a_request_is_sent_again_only_before_anything_of_an_answer_has_come() -> None:
    """Two rows, and both wait for an answer."""
    again = {
        (stage, event)
        for stage, rows in TABLE.items()
        for event, step in rows.items()
        if step.action in {Action.SEND_AGAIN, Action.SEND_PLAIN}
    }
    assert again == {
        (ExchangeStage.WAITING, ExchangeEvent.STALE),
        (ExchangeStage.WAITING, ExchangeEvent.USAGE_REFUSED),
    }


@pytest.mark.parametrize("stage", UNDER_WAY)
def test_the_gate_answers_only_a_client_that_has_nothing_yet(stage: ExchangeStage) -> None:
    """Once a part of an answer is out, what is missing can only be shown by a cut."""
    for event in (ExchangeEvent.FAILED, ExchangeEvent.GAVE_UP):
        action = decide(stage, event).action
        assert (action is Action.REFUSE) == (stage in {ExchangeStage.SENDING, ExchangeStage.WAITING})
        assert (action is Action.CUT) == (stage is ExchangeStage.ANSWERING)


@pytest.mark.parametrize(
    ("stage", "stops", "finishes"),
    [
        (ExchangeStage.SENDING, Action.CLOSE, Action.CLOSE),
        (ExchangeStage.WAITING, Action.STOP, Action.FINISH),
        (ExchangeStage.ANSWERING, Action.STOP, Action.FINISH),
        (ExchangeStage.SWITCHED, Action.CLOSE, Action.CLOSE),
        (ExchangeStage.ABANDONED_WAITING, Action.NOTHING, Action.NOTHING),
        (ExchangeStage.ABANDONED, Action.NOTHING, Action.NOTHING),
    ],
)
def test_a_client_that_leaves_stops_the_work_that_has_begun(
    stage: ExchangeStage, stops: Action, finishes: Action
) -> None:
    """Or lets it finish; where no work can have begun there is nothing to do but to end."""
    assert decide(stage, ExchangeEvent.LEFT).action is stops
    assert decide(stage, ExchangeEvent.LEFT_TO_FINISH).action is finishes


@pytest.mark.parametrize("stage", [ExchangeStage.ABANDONED_WAITING, ExchangeStage.ABANDONED])
def test_without_its_client_a_request_is_cancelled_however_it_ends(stage: ExchangeStage) -> None:
    """Nobody was cut: the client had left before."""
    assert decide(stage, ExchangeEvent.FAILED) == Step(Action.CLOSE, Outcome.CANCELLED)
    assert decide(ExchangeStage.ABANDONED, ExchangeEvent.ENDED) == Step(Action.CLOSE, Outcome.CANCELLED)


def test_each_stage_is_told_as_a_phase() -> None:
    """The meter knows four."""
    phases = [stage.phase for stage in ExchangeStage]
    assert phases == [
        Phase.REQUEST, Phase.WAITING, Phase.RESPONSE, Phase.RESPONSE, Phase.WAITING, Phase.RESPONSE,
        Phase.DONE,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("outcome", "answered", "method", "after", "event"),
    [
        (Outcome.UPSTREAM_RESET, False, "GET", STALE - 1, ExchangeEvent.STALE),
        (Outcome.UPSTREAM_RESET, False, "GET", STALE, ExchangeEvent.FAILED),
        (Outcome.UPSTREAM_RESET, False, "POST", 0, ExchangeEvent.STALE),
        (Outcome.UPSTREAM_RESET, False, "POST", STALE_AT_ONCE + 3 * ROUND_TRIP - 1, ExchangeEvent.STALE),
        (Outcome.UPSTREAM_RESET, False, "POST", STALE_AT_ONCE + 3 * ROUND_TRIP, ExchangeEvent.FAILED),
        (Outcome.UPSTREAM_RESET, False, "PATCH", STALE - 1, ExchangeEvent.FAILED),
        (Outcome.UPSTREAM_RESET, True, "GET", 0, ExchangeEvent.FAILED),
        (Outcome.UPSTREAM_PROTOCOL_ERROR, False, "GET", 0, ExchangeEvent.FAILED),
        (Outcome.UPSTREAM_TRUNCATED, False, "GET", 0, ExchangeEvent.FAILED),
    ],
)
def test_a_kept_connection_is_stale_only_if_it_broke_at_once_and_in_silence(
    outcome: Outcome, answered: bool, method: str, after: int, event: ExchangeEvent
) -> None:
    """In any other case the work may have begun; what does no harm twice has more time to show it."""
    connection: Any = UpstreamConnection(cast(Any, None), cast(Any, None), cast(Any, None))
    connection.answered = answered
    connection.round_trip = ROUND_TRIP
    assert failed(outcome, connection, method, Nanoseconds(after)) is event
