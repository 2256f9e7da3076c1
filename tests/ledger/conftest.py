"""Records, windows and open ledgers for the tests of this room."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from joulegate.ledger.sqlite import Ledger
from joulegate.model import (
    Component,
    DeviceEnergy,
    DeviceId,
    Fact,
    Method,
    Outcome,
    RequestRecord,
    Settled,
    SpanId,
    Task,
    TaskFacts,
    WindowBooks,
    WorkClass,
)
from joulegate.units import Microjoules, Nanoseconds

GPU = DeviceId("GPU-0")


@pytest.fixture(scope="session")
def make_record() -> Callable[..., RequestRecord]:
    """Makes a final record; every field may be given."""
    return record


@pytest.fixture(scope="session")
def make_books() -> Callable[..., WindowBooks]:
    """Makes the books of one window that balance."""
    return window


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    """A ledger on disk that writes."""
    ledger = Ledger.open(tmp_path / "ledger.db")
    ledger.start(lambda ids: None)
    yield ledger
    ledger.close()


def record(id_: str, energy: int | None = 7, **words: Any) -> RequestRecord:
    known = None if energy is None else Microjoules(energy)
    settled = Settled(
        SpanId(id_),
        energy=known,
        sigma=None,
        method=Method.UNMEASURED if energy is None else Method.TOKENS,
        final=True,
        by_device=() if known is None else (DeviceEnergy(GPU, known),),
    )
    return RequestRecord(
        **{
            "id": SpanId(id_),
            "upstream": "llm",
            "protocol": "openai",
            "task": Task.CHAT,
            "work": WorkClass.INFERENCE,
            "model": "gemma",
            "outcome": Outcome.OK,
            "settled": settled,
            "started": Nanoseconds(1_000),
            "duration": Nanoseconds(500),
            "components": () if known is None else ((Component.GPU, known),),
            "facts": TaskFacts(prompt_tokens=Fact(3), completion_tokens=Fact(4)),
            **words,
        }
    )


def window(requests: int = 7, idle: int = 2, foreign: int = 1, device: DeviceId = GPU) -> WindowBooks:
    return WindowBooks(
        device=device,
        start=Nanoseconds(0),
        end=Nanoseconds(1),
        counter=Microjoules(requests + idle + foreign),
        requests=Microjoules(requests),
        idle=Microjoules(idle),
        unattributed=(("foreign", Microjoules(foreign)),),
    )
