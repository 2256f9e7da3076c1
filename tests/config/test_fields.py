"""The form of a setting stands in its annotation."""

from typing import Annotated

import msgspec

from joulegate.config.fields import Text, keys


class Inner(msgspec.Struct, frozen=True):
    """A table."""

    x: int = 0


class Example(msgspec.Struct, frozen=True):
    """A table with one key of each kind."""

    plain: str
    parsed: Annotated[int, Text(int)]
    maybe: Annotated[int, Text(int)] | None = None
    bounded: Annotated[int, msgspec.Meta(ge=1, le=2)] = 1
    several: Annotated[tuple[int, ...], Text(int, many=True)] = msgspec.field(default=(), name="one")
    table: Inner = Inner()
    tables: tuple[Inner, ...] = ()
    words: tuple[str, ...] = ()


def test_each_key_is_known_by_its_name_in_a_file() -> None:
    """A field may have another name in Python."""
    found = keys(Example)
    assert found["one"].field == "several"
    assert [key.name for key in found.values() if key.required] == ["plain", "parsed"]


def test_parsers_and_bounds_are_found_in_the_annotation() -> None:
    """Also where the value may be left out."""
    found = keys(Example)
    assert [key.name for key in found.values() if key.text] == ["parsed", "maybe", "one"]
    assert (found["maybe"].optional, found["parsed"].optional) == (True, False)
    bounds = found["bounded"].bounds
    assert bounds is not None
    assert (bounds.ge, bounds.le) == (1, 2)


def test_tables_are_told_from_values() -> None:
    """A struct is a table, a tuple of structs a list of tables, any other tuple a value."""
    found = keys(Example)
    assert [key.name for key in found.values() if key.table] == ["table", "tables"]
    assert [key.name for key in found.values() if key.tables] == ["tables"]
