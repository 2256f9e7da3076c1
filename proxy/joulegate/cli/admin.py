"""Asks a running joulegate over its admin address."""

from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPException, HTTPResponse
from typing import TypeVar

import msgspec

from joulegate.config.addresses import address
from joulegate.errors import ConfigError, JoulegateError
from joulegate.model import MeterStatus

PATIENCE = 5.0
"""Seconds for an answer."""
_LARGEST = 64 << 20

Answer = TypeVar("Answer")


class NoAnswer(JoulegateError):
    """Nobody answers there, or not as joulegate does: try again later or name the right address."""


class _Problem(msgspec.Struct):
    """What the admin API answers where it cannot do what it is asked."""

    error: str


def ask(admin: str, path: str) -> bytes:
    """Return body of a GET. Raises ``NoAnswer`` with the reason, and ``ConfigError`` for what the caller
    got wrong: the address, or a parameter in the path.
    """
    with streamed(admin, path) as response:
        try:
            return response.read(_LARGEST)
        except (OSError, HTTPException) as error:
            raise NoAnswer(_silence(admin, error)) from error


@contextmanager
def streamed(admin: str, path: str) -> Iterator[HTTPResponse]:
    """Open the answer to a GET, to be read as it comes. Raises like ``ask``, but not while it is read."""
    place = address(admin)
    connection = HTTPConnection(_reachable(place.host), place.port, timeout=PATIENCE)
    try:
        with _asked(connection, admin, path) as response:
            if response.status != 200:
                said = _problem(response.read(_LARGEST))
                if response.status == 400:
                    raise ConfigError(said)
                raise NoAnswer(f"{admin}{path} answers {response.status}: {said}")
            yield response
    finally:
        connection.close()


def _problem(body: bytes) -> str:
    """Return what an answer says is wrong: its ``error``, or what it begins with."""
    try:
        return msgspec.json.decode(body, type=_Problem).error
    except (msgspec.DecodeError, UnicodeDecodeError):
        return body[:200].decode(errors="replace").strip()


def _asked(connection: HTTPConnection, admin: str, path: str) -> HTTPResponse:
    try:
        connection.request("GET", path)
        return connection.getresponse()
    except (OSError, HTTPException) as error:
        raise NoAnswer(_silence(admin, error)) from error


def _silence(admin: str, error: Exception) -> str:
    reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return f"no meter answers on {admin}: {reason}; is `joulegate run` up? Name its address with --admin"


def decoded(admin: str, body: bytes, shape: type[Answer]) -> Answer:
    """Return what a body says. Raises ``NoAnswer`` if it is not what joulegate writes."""
    try:
        return msgspec.json.decode(body, type=shape)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise NoAnswer(
            f"{admin} does not answer as joulegate's admin address does ({error}); "
            "name the right one with --admin"
        ) from error


def status(admin: str) -> MeterStatus:
    """Return what the meter shows of itself now."""
    return decoded(admin, ask(admin, "/v1/status"), MeterStatus)


def _reachable(host: str) -> str:
    """A server that listens on all interfaces is asked on this one."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
