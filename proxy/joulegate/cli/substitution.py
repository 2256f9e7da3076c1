"""Finds the port in a server's command line and puts another one in its place. Pure."""

import re
from collections.abc import Iterator, Mapping, Sequence

from msgspec import Struct

from joulegate.errors import ConfigError

PLACEHOLDER = "{port}"
PORT_NAMES = ("--port", "-p")
HOST_NAMES = ("--host",)
_PORT = re.compile(r"[1-9][0-9]{0,4}", re.ASCII)


class Plan(Struct, frozen=True):
    """How to start a server behind joulegate."""

    command: tuple[str, ...]
    """With the new port in it."""
    environment: Mapping[str, str]
    """Variables to set for it."""
    host: str | None
    """The host that the command names; ``None`` if it names none."""
    port: int | None
    """The port that clients know; ``None`` if the command only has the placeholder."""


def plan(
    command: Sequence[str], free: int, *, port_names: Sequence[str] = PORT_NAMES, port_variable: str = ""
) -> Plan:
    """Return the command with the port ``free`` in place of its own, and its host set to loopback.

    The port is looked for as ``{port}``, as the value of one of ``port_names``, then in the environment
    variable ``PORT`` (its value is ``port_variable``). Raises ``ConfigError`` that names the remedies.
    """
    port = _port(command, port_names)
    if any(PLACEHOLDER in word for word in command):
        return _loopback([word.replace(PLACEHOLDER, str(free)) for word in command], {}, port)
    if port is not None:
        return _loopback(_replaced(command, port_names, free), {}, port)
    if _is_port(port_variable):
        return _loopback(list(command), {"PORT": str(free)}, int(port_variable))
    raise ConfigError(
        f"no port is named in {' '.join(command)[:200]!r}: add --port N to it, tell the name of its argument "
        "with --port-arg, or write {port} where the port belongs and give --listen HOST:PORT"
    )


def _port(command: Sequence[str], names: Sequence[str]) -> int | None:
    ports = [value for _, _, value in _values(command, names) if _is_port(value)]
    return int(ports[-1]) if ports else None


def _loopback(command: list[str], environment: Mapping[str, str], port: int | None) -> Plan:
    """Only joulegate can be reached from outside, else requests would pass unmetered."""
    hosts = [value for _, _, value in _values(command, HOST_NAMES)]
    for at, lead, _ in _values(command, HOST_NAMES):
        command[at] = f"{lead}127.0.0.1"
    return Plan(tuple(command), environment, hosts[-1] if hosts else None, port)


def _replaced(command: Sequence[str], names: Sequence[str], free: int) -> list[str]:
    """Only a number is a port: ``-p`` means other things to other servers."""
    words = list(command)
    for at, lead, value in _values(command, names):
        if _is_port(value):
            words[at] = f"{lead}{free}"
    return words


def _values(command: Sequence[str], names: Sequence[str]) -> Iterator[tuple[int, str, str]]:
    """Return place, lead and text of each value of an argument."""
    for at, word in enumerate(command):
        if at and command[at - 1] in names:
            yield at, "", word
        for lead in map(_lead, names):
            value = word.removeprefix(lead)
            # `-p8000` has a value, `-parallel` is another argument.
            if word.startswith(lead) and (lead.endswith("=") or _is_port(value)):
                yield at, lead, value


def _lead(name: str) -> str:
    return f"{name}=" if name.startswith("--") else name


def _is_port(text: str) -> bool:
    return _PORT.fullmatch(text) is not None and int(text) <= 65_535
