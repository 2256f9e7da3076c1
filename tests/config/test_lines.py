"""Every key of a TOML text is found on its line."""

import tomllib
from collections.abc import Iterator
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from joulegate.config.lines import Path, lines_of

ALL_FORMS = '''\
# comment with [brackets] and = signs
top = 1 # a comment
"quoted key" = "a # no comment"
'literal' = 'C:\\'
dotted . key = true
text = """
[not.a.table]
x = 1 ""\\"
"""
raw = \'\'\'
y = 2\'\'\'\'
list = [
  1, # one
  "two, ]",
  [3, { in = 4 }],
]
inline = { a = 1, "b" = { c = [5] } }

[table]
key = 1979-05-27T07:32:00Z

[[many]]
a = 1
[many.sub]
b = 2

[[many]]
a = 3
[[many.deep]]
c = 4
["x.y".z]
d = 5
'''

EXPECTED: dict[Path, int] = {
    ("top",): 2,
    ("quoted key",): 3,
    ("literal",): 4,
    ("dotted", "key"): 5,
    ("text",): 6,
    ("raw",): 10,
    ("list",): 12,
    ("list", 0): 13,
    ("list", 1): 14,
    ("list", 2): 15,
    ("list", 2, 1, "in"): 15,
    ("inline", "b", "c", 0): 17,
    ("table",): 19,
    ("table", "key"): 20,
    ("many", 0): 22,
    ("many", 0, "a"): 23,
    ("many", 0, "sub", "b"): 25,
    ("many", 1): 27,
    ("many", 1, "a"): 28,
    ("many", 1, "deep", 0, "c"): 30,
    ("x.y", "z", "d"): 32,
}


def test_all_forms_of_toml() -> None:
    """Comments, strings over several lines, nested lists and tables do not put the count off."""
    found = lines_of(ALL_FORMS)
    assert {path: found.get(path) for path in EXPECTED} == EXPECTED
    assert not set(_paths((), tomllib.loads(ALL_FORMS))) - {path[:end] for path in found for end in range(10)}


def test_windows_line_ends() -> None:
    """Carriage returns do not count as lines."""
    assert lines_of("a = 1\r\nb = '''\r\nx'''\r\nc = 2\r\n") == {("a",): 1, ("b",): 2, ("c",): 4}


def _paths(path: Path, value: Any) -> Iterator[Path]:
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, below in items:
        yield from _paths((*path, key), below)


KEYS = st.text("abc-_", min_size=1, max_size=3)
LEAVES = st.one_of(
    st.integers(-5, 5).map(str),
    st.text("ab#=[]{}',\n", max_size=6).map(lambda text: f'"""{text}"""'),
    st.text('ab#=[]{}",\n', max_size=6).map(lambda text: f"'''{text}'''"),
    st.text("ab#=[]{}',", max_size=6).map(lambda text: f'"{text}"'),
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda items: f"[ # c ]\n{', '.join(items)}\n]"),
        st.dictionaries(KEYS, inner, max_size=3).map(
            lambda table: "{" + ", ".join(f"{key} = {value}" for key, value in table.items()) + "}"
        ),
    ),
    max_leaves=6,
)


@given(st.dictionaries(KEYS, VALUES, max_size=5))
def test_every_key_of_any_document_is_on_the_line_found(table: dict[str, str]) -> None:
    """Whatever the values hold, each top key is found on its line, and each path has a line."""
    text, at = "", {}
    for key, value in table.items():
        at[key,] = text.count("\n") + 1
        text += f"{key} = {value} # end\n"
    found = lines_of(text)
    assert {path: line for path, line in found.items() if len(path) == 1} == at
    assert set(_paths((), tomllib.loads(text))) - {()} == set(found)


@given(st.text(max_size=60))
def test_the_pass_always_ends(text: str) -> None:
    """Even a text that is no TOML is read to its end, with lines that it has."""
    assert all(1 <= line <= text.count("\n") + 1 for line in _lines_or_refusal(text).values())


def _lines_or_refusal(text: str) -> dict[Path, int]:
    try:
        return dict(lines_of(text))
    except tomllib.TOMLDecodeError:
        return {}
