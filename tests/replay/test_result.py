"""The result document."""

from joulegate.model import DeviceId, Method, Settled, SpanId, WindowBooks
from joulegate.replay.result import Books, Result, document
from joulegate.units import Microjoules, Nanoseconds


def test_totals_are_sums_over_devices_in_a_fixed_order() -> None:
    """Keys stand in the order of the format."""
    figure = Settled(SpanId("a"), Microjoules(5), Microjoules(1), Method.MODEL, final=True)
    result = Result(
        "step-clock", {SpanId("a"): figure}, [Books(10, 5, 4, 1), Books(3, 0, 3, 0)], 2_500_000_000
    )
    found = document(result)

    assert list(found) == ["method", "requests", "idle_uj", "unattributed_uj", "counter_uj", "gaps_s", "gpus"]
    assert (found["counter_uj"], found["idle_uj"], found["unattributed_uj"]) == (13, 7, 1)
    assert found["gaps_s"] == 2.5
    assert found["requests"]["a"] == {"energy_uj": 5, "sigma_uj": 1, "method": "model"}
    assert list(found["gpus"]) == ["0", "1"]


def test_windows_add_up() -> None:
    """All reasons of unattributed energy are one sum."""
    books = Books()
    for _ in range(2):
        books.add(
            WindowBooks(
                DeviceId("a"), Nanoseconds(0), Nanoseconds(1), Microjoules(10), Microjoules(4),
                Microjoules(3), (("foreign", Microjoules(2)), ("crash", Microjoules(1))),
            )
        )  # fmt: skip

    assert books == Books(20, 8, 6, 6)
