"""Members of enumerations are found at once."""

from enum import StrEnum

from joulegate.model import Outcome
from joulegate.model.members import at_hand


def test_members_stand_in_the_class_itself() -> None:
    """Whatever the version of Python, a member is no failure first."""
    assert vars(Outcome)["OK"] is Outcome.OK is Outcome("ok")


def test_an_enumeration_stays_what_it_is() -> None:
    """Its members, their order and their values are as before."""

    class Plain(StrEnum):
        ONE = "one"
        TWO = "two"

    kind = at_hand(Plain)
    assert kind is Plain
    assert [*kind] == [Plain("one"), Plain("two")]
    assert kind.TWO.name == "TWO"
