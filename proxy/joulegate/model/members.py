"""Members of enumerations, found at once."""

from enum import Enum
from typing import TypeVar

E = TypeVar("E", bound=Enum)


def at_hand(kind: type[E]) -> type[E]:
    """Put the members of an enumeration into the class itself, as Python does from 3.12 on.

    In 3.11 each ``Outcome.OK`` is an ``AttributeError`` first, and then a call of ``EnumType.__getattr__``:
    0.25 us in place of 0.02, dozens of times in a request.
    """
    for name, member in kind.__members__.items():
        type.__setattr__(kind, name, member)
    return kind
