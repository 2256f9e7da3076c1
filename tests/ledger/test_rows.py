"""What the ledger keeps adds up in integers."""

from collections.abc import Callable
from functools import reduce
from operator import add

from hypothesis import given
from hypothesis import strategies as st

from joulegate.ledger.rows import BooksTotal, recorded, unfinished
from joulegate.model import Component, DeviceId, RequestRecord, Share, WindowBooks, alike
from joulegate.units import Microjoules, Nanoseconds

GPU = DeviceId("GPU-0")
amounts = st.integers(0, 10**15).map(Microjoules)
windows = st.builds(
    lambda requests, idle, foreign, crash: WindowBooks(
        GPU,
        Nanoseconds(0),
        Nanoseconds(1),
        Microjoules(requests + idle + foreign + crash),
        requests,
        idle,
        (("foreign", foreign), ("crash", crash)),
    ),
    amounts,
    amounts,
    amounts,
    amounts,
)


@given(st.lists(windows))
def test_books_of_windows_that_balance_balance(given: list[WindowBooks]) -> None:
    """However many windows are added, requests + idle + unattributed = counter."""
    books = BooksTotal(device=GPU)
    for window in given:
        books = books.plus(window)
    assert books.error() == 0
    assert books.counter == sum(window.counter for window in given)


def test_books_say_what_is_missing() -> None:
    """A window that does not balance shows in the sum."""
    assert BooksTotal(device=GPU, counter=Microjoules(5), idle=Microjoules(3)).error() == 2


def test_balances_of_the_same_words_add_up(make_record: Callable[..., RequestRecord]) -> None:
    """Counts, energy by component and tokens are sums; the words stay."""
    one, other = make_record("a", 7).balance(), make_record("b", 5).balance()
    total = one + other
    assert total.labels == one.labels
    assert total.values() == ("chat", "inference", "gemma", "llm", "ok", "")
    assert (total.requests, total.prompt_tokens, total.completion_tokens) == (2, 6, 8)
    assert total.energy == ((Component.GPU, Share.UNSPLIT, 12),)


def test_a_record_adds_its_energy_to_the_books_of_its_devices(
    make_record: Callable[..., RequestRecord],
) -> None:
    """What stands in records can be held against what was booked to requests."""
    assert recorded(make_record("a", 7)) == [BooksTotal(device=GPU, recorded=Microjoules(7))]
    assert recorded(make_record("a", None)) == []


def test_energy_of_lost_requests_is_nobodys_request() -> None:
    """It counts in the sums of energy and not in the number of requests."""
    balance = unfinished(Component.GPU, Microjoules(9))
    assert (balance.requests, balance.energy) == (0, ((Component.GPU, Share.UNSPLIT, 9),))


@given(st.lists(st.tuples(st.sampled_from("ab"), amounts | st.none()), min_size=1, max_size=20))
def test_records_added_at_once_are_the_sum_of_their_balances(
    make_record: Callable[..., RequestRecord], given: list[tuple[str, Microjoules | None]]
) -> None:
    """By their words, in the order in which these came."""
    records = [make_record(str(place), energy, model=model) for place, (model, energy) in enumerate(given)]
    groups = alike(records)

    assert [group.sums.model for group in groups] == list(dict.fromkeys(model for model, _ in given))
    for group in groups:
        assert list(group.records) == [one for one in records if one.model == group.sums.model]
        assert group.sums == reduce(add, [one.balance() for one in group.records])
