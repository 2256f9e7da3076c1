"""Settings that stay text but cannot be any text: parsers that return it or say what is wrong. Pure."""

import re
from collections.abc import Callable
from zoneinfo import ZoneInfo

from joulegate.errors import ConfigError

_FIELD_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}", re.ASCII)
_FIELD = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+\s*=\s*\S.*", re.ASCII)
"""A header field's name (RFC 9110, 5.1) and a value."""
_CREDENTIALS = ("authorization", "x-api-key", "api-key", "cookie", "proxy-authorization")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_ZONE = re.compile(r"[A-Z]{3}|WORLD", re.ASCII)

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", re.ASCII)
_RESERVED = {"other", "unknown"}
"""Label values with a meaning of their own in the metrics."""


def checked(parse: Callable[[str], object]) -> Callable[[str], str]:
    """Return a parser that refuses what another one refuses, and leaves the text as it is."""

    def check(text: str) -> str:
        parse(text)
        return text

    return check


def filled(what: str) -> Callable[[str], str]:
    """Return a parser that refuses an empty text and says what to do instead."""

    def parse(text: str) -> str:
        if not text.strip():
            raise ConfigError(f"is empty: {what}")
        return text

    return parse


def name(text: str) -> str:
    """Return a name, which becomes a label, a part of a path and a word in messages."""
    if not _NAME.fullmatch(text):
        raise ConfigError(
            f"{text[:60]!r} is no name: use letters, digits, '.', '_' and '-', at most 64, a letter first"
        )
    if text in _RESERVED:
        raise ConfigError(f"{text!r} is reserved: it stands for what has no name; choose another one")
    return text


def path_prefix(text: str) -> str:
    """Return a prefix of raw paths. Raises ``ConfigError``."""
    if not text.startswith("/") or text == "/":
        raise ConfigError(
            f"{text[:60]!r} is no prefix: begin with a slash and name a part, for example '/image'"
        )
    if text.endswith("/"):
        raise ConfigError(f"{text[:60]!r}: leave the last slash out: {text.rstrip('/')[:60] or '/image'!r}")
    if not text.isascii() or not text.isprintable() or set(text) & set(" ?#"):
        raise ConfigError(f"{text[:60]!r} has a character that no raw path has; write it percent-encoded")
    return text


def affinity(text: str) -> str:
    """Return ``prompt`` or ``header:NAME``. Raises ``ConfigError``."""
    kind, colon, header = text.partition(":")
    if text != "prompt" and (kind != "header" or not colon or not _FIELD_NAME.fullmatch(header)):
        raise ConfigError(
            f"{text[:60]!r} is none: write 'prompt' or 'header:NAME', for example 'header:X-Session-Id'"
        )
    return text


def http_method(text: str) -> str:
    """Return an HTTP method. Raises ``ConfigError``."""
    if not text.isascii() or not text.isupper() or not text.isalpha():
        raise ConfigError(f"{text[:60]!r} is no method: write for example 'POST'")
    return text


def known_path(text: str) -> str:
    """Return a path that one server has, without anything that stands for others. Raises ``ConfigError``."""
    if not text.startswith("/") or set(text) & set("?#*{}"):
        raise ConfigError(f"{text[:60]!r} is no path: write the path of a server that is known")
    return text


def client_path(text: str) -> str:
    """Return a pattern of paths as clients send them. Raises ``ConfigError``."""
    if not text.startswith(("/", "*")):
        raise ConfigError(f"{text[:60]!r} is no path: begin with a slash, or with '*'")
    return text


def header_value(text: str) -> str:
    """Return name and value of a header field. Raises ``ConfigError``, which never repeats a credential."""
    if text.partition("=")[0].strip().lower() in _CREDENTIALS:
        raise ConfigError("is a credential: add a [[tenant]] with its key and name that tenant here")
    if not _FIELD.fullmatch(text):
        raise ConfigError(f"{text[:60]!r} is no field: write name and value, such as 'X-App=digest'")
    return text


def variable_name(text: str) -> str:
    """Return the name of an environment variable. Raises ``ConfigError``.

    The text is never repeated: somebody may have written the key itself there.
    """
    if not _VARIABLE.fullmatch(text):
        raise ConfigError("is no name of an environment variable: put the key into one and name it here")
    return text


def zone(text: str) -> str:
    """Return a zone of the grid. Raises ``ConfigError``."""
    if not _ZONE.fullmatch(text):
        raise ConfigError(
            f"{text[:60]!r} is no zone: write the three capital letters of ISO 3166, "
            "for example 'FRA', or 'WORLD'"
        )
    return text


def timezone(text: str) -> str:
    """Return the name of a time zone that is known here. Raises ``ConfigError``."""
    try:
        ZoneInfo(text)
    except (LookupError, ValueError, OSError) as error:
        raise ConfigError(
            f"{text[:60]!r} is no time zone known here: write for example 'UTC' or 'Europe/Paris'"
        ) from error
    return text
