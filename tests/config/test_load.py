"""Reading a configuration: all problems at once, each at its place, and never a traceback."""

import os
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from joulegate.config.layers import Flags
from joulegate.config.load import LARGEST, load, resolve
from joulegate.config.shape import parsed
from joulegate.config.structs import Config
from joulegate.errors import ConfigError

Refusal = Callable[[str], list[str]]
Write = Callable[[str], Path]


def test_a_good_file(good: str, written: Write) -> None:
    """A good file gives its values, and the defaults for the rest."""
    config = load(written(good))
    assert [upstream.name for upstream in config.upstream] == ["text", "image"]
    assert config.upstream[1].gpus == (0, "GPU-1")
    assert config.budget[0].match.upstream == "text"
    assert str(config.listen.admin) == "127.0.0.1:9464"


def test_all_problems_at_once_in_the_order_of_the_file(refusal: Refusal) -> None:
    """Slips of shape and of sense come together, each with its line and a near name."""
    lines = refusal(
        '[listen]\nadress = "x"\ngates = "two"\n\n[[upstream]]\nname = "a"\nurl = "ftp://x"\n'
        'on_client_leave = "abrt"\n[carbon]\nzone = "fr"\n'
    )
    assert [line.split(": ")[:2] for line in lines] == [
        ["joulegate.toml:2", "listen.adress"],
        ["joulegate.toml:3", "listen.gates"],
        ["joulegate.toml:7", "upstream[0].url"],
        ["joulegate.toml:8", "upstream[0].on_client_leave"],
        ["joulegate.toml:10", "carbon.zone"],
    ]
    assert "did you mean 'address'?" in lines[0]


def test_a_broken_upstream_is_not_reported_twice(refusal: Refusal) -> None:
    """What merely follows from a missing key is not added to it."""
    (line,) = refusal('[[upstream]]\nurl = "http://h"\n')
    assert "the key 'name' is missing" in line


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("a = \n", ":1: is no TOML"),
        ("[listen]\n\n[listen]\n", ":3: is no TOML"),
        ("a = [1,\n", " is no TOML"),
    ],
)
def test_broken_toml_names_the_line(text: str, where: str, refusal: Refusal) -> None:
    """What is no TOML at all is refused at its line."""
    assert where in refusal(text)[0]


def test_a_byte_that_is_no_utf8_names_its_line(tmp_path: Path) -> None:
    """A file in another encoding is refused at the byte that shows it."""
    path = tmp_path / "latin.toml"
    path.write_bytes(b"[listen]\n# caf\xe9\n")
    with pytest.raises(ConfigError, match=r"latin\.toml:2: is not UTF-8 text: byte 0xe9"):
        load(path)


def test_a_byte_order_mark_is_no_matter(good: str, tmp_path: Path) -> None:
    """A file saved by an editor that writes a mark is read like any other."""
    path = tmp_path / "c.toml"
    path.write_bytes(b"\xef\xbb\xbf" + good.encode())
    assert load(path).carbon.zone == "FRA"


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    """A missing file, a directory and an impossible name are refused with the reason."""
    for path, reason in (
        (tmp_path / "none.toml", "No such file"),
        (tmp_path, "Is a directory"),
        (Path("a\0b"), "null byte"),
    ):
        with pytest.raises(ConfigError, match=reason):
            load(path)


def test_a_huge_file_is_no_configuration(tmp_path: Path) -> None:
    """An endless file is not read to its end."""
    path = tmp_path / "huge.toml"
    path.write_bytes(b"#" * (LARGEST + 1))
    with pytest.raises(ConfigError, match="larger than"):
        load(path)
    with pytest.raises(ConfigError, match="larger than"):
        load("/dev/zero")


@pytest.mark.parametrize(
    "text", ["a = " + "[" * 100_000, "a = " + "{b = " * 50_000, "a" + ".a" * 10_000 + " = 1"]
)
def test_deep_nesting_is_no_traceback(text: str, refusal: Refusal) -> None:
    """A file made to exhaust the stack is refused in one line."""
    assert len(refusal(text)) == 1


def test_a_flood_of_problems_is_cut(refusal: Refusal) -> None:
    """Thousands of slips neither take minutes nor fill the terminal."""
    lines = refusal("".join(f"key{number} = 1\n" for number in range(9_000)))
    assert lines[-1] == "joulegate.toml: and 8901 more"
    assert len(lines) == 101


def test_a_number_beyond_all_bounds(refusal: Refusal) -> None:
    """A number that Python refuses to read is no traceback."""
    assert "joulegate.toml" in refusal("[listen]\ngates = " + "9" * 5_000)[0]


def test_flags_without_a_file() -> None:
    """The command line alone is enough, and its problems name the flag."""
    config = resolve(None, Flags(upstream=["http://127.0.0.1:1"], listen="127.0.0.1:0")).config
    assert config.upstream[0].name == "default"
    with pytest.raises(ConfigError, match=r"^--listen: listen\.address: 'x' is no address"):
        resolve(None, Flags(upstream=["http://127.0.0.1:1"], listen="x"))
    with pytest.raises(ConfigError, match=r"^upstream: no upstream"):
        resolve(None, Flags())


BYTES = st.binary(max_size=6)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=300)
@given(data=st.data())
def test_no_mutation_of_a_good_file_gives_a_traceback(data: st.DataObject, good: str, tmp_path: Path) -> None:
    """Whatever bytes are put in, taken out or swapped, the file is read or refused with its name."""
    raw = good.encode()
    start = data.draw(st.integers(0, len(raw)))
    end = data.draw(st.integers(start, min(len(raw), start + 30)))
    piece = data.draw(
        st.one_of(BYTES, st.sampled_from([raw[20:60], b"[[", b'"""', b"\n[a.b]\n", b" = {", b"]"]))
    )
    path = tmp_path / f"{os.getpid()}.toml"
    path.write_bytes(raw[:start] + piece + raw[end:])
    try:
        config = load(path)
    except ConfigError as error:
        told = str(error)
    else:
        told = f"{path}: {len(config.upstream)}"
    assert all(line.startswith(str(path)) for line in told.splitlines())


VALUES = st.one_of(
    st.text(max_size=5), st.integers(), st.booleans(), st.lists(st.integers(), max_size=2), st.just({"a": 1})
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    changes=st.lists(
        st.tuples(
            st.sampled_from([("listen", "gates"), ("energy",), ("upstream",), ("carbon", "pue")]), VALUES
        )
    )
)
@example(changes=[(("upstream",), [])])
def test_no_value_of_another_type_gives_a_traceback(
    changes: list[tuple[tuple[str, ...], object]], good: str
) -> None:
    """Whatever values stand in place of the right ones, the answer is a configuration or a refusal."""
    values = tomllib.loads(good)
    for path, value in changes:
        table = values
        for key in path[:-1]:
            table = table[key] if isinstance(table.get(key), dict) else {}
        table[path[-1]] = value
    config, problems = parsed(values)
    assert all(problem.what for problem in problems)
    assert isinstance(config, Config)
