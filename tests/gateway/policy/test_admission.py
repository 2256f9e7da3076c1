"""How many requests an upstream gets."""

from joulegate.config.addresses import Endpoint
from joulegate.gateway.policy.admission import Admission
from joulegate.gateway.policy.settings import Target

SMALL = Target("small", Endpoint("http", "h", 1), max_in_flight=2)
FREE = Target("free", Endpoint("http", "h", 1))


def test_an_upstream_gets_no_more_than_its_bound() -> None:
    """One that leaves makes room for one that comes."""
    admission = Admission()
    assert [admission.enter(SMALL) for _ in range(3)] == [True, True, False]
    admission.leave(SMALL)
    assert admission.enter(SMALL)
    assert admission.in_flight() == (("small", 2),)


def test_without_a_bound_all_are_let_in() -> None:
    """There is no hidden bound: the 101st stream waits for nobody."""
    admission = Admission()
    assert all(admission.enter(FREE) for _ in range(10_000))
    assert admission.total() == 10_000


def test_refusals_are_counted_by_reason() -> None:
    """The meter shows why requests went nowhere."""
    admission = Admission()
    for reason in ("full", "draining", "full"):
        admission.refuse(reason)
    assert admission.refused() == (("draining", 1), ("full", 2))
