"""Reads a configuration: the only file access of this room. All problems come out at once."""

import re
import tomllib
from collections.abc import Callable, Iterable
from pathlib import Path as FilePath
from typing import Any

import msgspec

from joulegate.config import shape, validate
from joulegate.config.layers import Flags, Layer, from_flags, merged, origin_of
from joulegate.config.lines import Path, lines_of
from joulegate.config.problems import Problem, dotted
from joulegate.config.structs import Config
from joulegate.config.validate import Plugins
from joulegate.errors import ConfigError

LARGEST = 1 << 18
"""Bytes; more is not a configuration but a mistake in the path."""

_DEEP = re.compile(r"""(?<![\w"'-])(?:[\w"'-]++[ \t]*+\.[ \t]*+){32}""")
"""A key of more than 32 parts: time and memory to read one grow with the square of its length."""

_MOST_TOLD = 100
"""Problems; nobody reads more at once."""

_LINE = re.compile(r"\(at line (\d+), column \d+\)")


class Resolved(msgspec.Struct, frozen=True):
    """A checked configuration and where its values came from."""

    config: Config
    layer: Layer


OptionProblems = Callable[[Config], Iterable[Problem]]
"""Returns what is wrong with the options of plug-ins."""


def load(path: FilePath | str, *, plugins: Plugins | None = None) -> Config:
    """Return the configuration in a TOML file.

    Raises ``ConfigError`` with a line for each problem: file, line, key, what is wrong, what is allowed.
    """
    return resolve(path, plugins=plugins).config


def resolve(
    path: FilePath | str | None = None,
    flags: Flags | None = None,
    *,
    plugins: Plugins | None = None,
    options: OptionProblems | None = None,
) -> Resolved:
    """Return the configuration of a file with the command line laid over it, each value with its origin."""
    below = read(path) if path is not None else Layer({}, {})
    layer = merged(below, from_flags(flags)) if flags else below
    config = _checked(layer, plugins or {}, options, str(path) if path is not None else "")
    return Resolved(config, layer)


def read(path: FilePath | str) -> Layer:
    """Return the values of a file and their lines, unchecked. Raises ``ConfigError``."""
    text = _text(path)
    try:
        values = _parsed(str(path), text)
        lines = lines_of(text)
    except RecursionError:
        raise ConfigError(f"{path}: is nested too deeply to be a configuration") from None
    return Layer(values, {place: f"{path}:{line}" for place, line in lines.items()})


def _text(path: FilePath | str) -> str:
    try:
        with FilePath(path).open("rb") as file:
            raw = file.read(LARGEST + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ConfigError(
            f"{str(path)!r}: cannot be read: {reason}; check the path given to --config"
        ) from error
    if len(raw) > LARGEST:
        raise ConfigError(f"{path}: is larger than {LARGEST} bytes, so it is no configuration")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise ConfigError(
            f"{path}:{line}: is not UTF-8 text: byte {raw[error.start]:#04x}; save it as UTF-8"
        ) from error


def _parsed(path: str, text: str) -> dict[str, Any]:
    try:
        return _toml(text)
    except ValueError as error:  # TOMLDecodeError, but also a number or date that Python cannot hold
        raise ConfigError(f"{path}{_place(text, str(error))}: is no TOML: {error}") from error


def _toml(text: str) -> dict[str, Any]:
    if _DEEP.search(text):
        raise RecursionError
    return tomllib.loads(text)


def _place(text: str, message: str) -> str:
    """Return ``:line`` where the parser's message names it."""
    found = _LINE.search(message)
    if found:
        return f":{found[1]}"
    return f":{text.count(chr(10)) + 1}" if "end of document" in message else ""


def _checked(layer: Layer, plugins: Plugins, options: OptionProblems | None, file: str) -> Config:
    try:
        config, wrong = shape.parsed(layer.values)
    except RecursionError:
        raise ConfigError(f"{file}: is nested too deeply to be a configuration") from None
    found = [*validate.problems(config, plugins), *(options(config) if options else ())]
    wrong = [*wrong, *_apart(found, wrong)]
    if wrong:
        raise ConfigError("\n".join(_told(layer, wrong, file)))
    return config


def _apart(found: Iterable[Problem], known: Iterable[Problem]) -> list[Problem]:
    """Return the problems that do not just follow from those that are known."""
    paths = {problem.path for problem in known}
    holders = {path[:end] for path in paths for end in range(1, len(path))}
    return [
        problem for problem in found if problem.path not in holders and not paths & _prefixes(problem.path)
    ]


def _prefixes(path: Path) -> set[Path]:
    return {path[:end] for end in range(1, len(path) + 1)}


def _told(layer: Layer, problems: Iterable[Problem], file: str) -> list[str]:
    """Return a line for each problem, in the order of the file."""
    placed = [(origin_of(layer, problem.path) or file, problem) for problem in problems]
    placed.sort(key=lambda item: _line_number(item[0]))
    told = [
        ": ".join(part for part in (where, dotted(problem.path), problem.what) if part)
        for where, problem in placed[:_MOST_TOLD]
    ]
    return [*told, f"{file}: and {len(placed) - _MOST_TOLD} more"] if len(placed) > _MOST_TOLD else told


def _line_number(where: str) -> int:
    line = where.rpartition(":")[2]
    return int(line) if line.isdecimal() else 0
