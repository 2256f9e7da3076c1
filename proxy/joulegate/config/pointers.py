"""Places in JSON bodies and patterns of paths, as people write them. Pure."""

import re

from joulegate.errors import ConfigError
from joulegate.globs import MODEL, compiled_path

Path = tuple[str, ...]
_PATH = re.compile(r"/[!-~]*", re.ASCII)
_PARTS = re.compile(r"(\*|\{[^}]*\}?)")


def pointer(text: str) -> Path:
    """Return the parts of a JSON pointer. Raises ``ConfigError``.

    See https://www.rfc-editor.org/rfc/rfc6901: it is empty, for the whole body, or begins with a slash;
    ``~1`` is a slash in a key and ``~0`` a tilde.
    """
    if text and not text.startswith("/"):
        mended = "/" + text.removeprefix("$").strip(".").replace(".", "/")
        raise ConfigError(f"{text[:60]!r} is no JSON pointer: write {mended[:60]!r} (RFC 6901)")
    if "~" in text.replace("~0", "").replace("~1", ""):
        raise ConfigError(
            f"{text[:60]!r} is no JSON pointer: in a key, write '~0' for a tilde and '~1' for a slash"
        )
    return tuple(part.replace("~1", "/").replace("~0", "~") for part in text.split("/")[1:])


def path_pattern(text: str) -> re.Pattern[str]:
    """Return what matches a raw path: ``*`` is any characters, ``{model}`` one part of the path.

    Raises ``ConfigError``.
    """
    if not _PATH.fullmatch(text) or set(text) & set("?#"):
        raise ConfigError(
            f"{text[:60]!r} is no path: begin with a slash, leave the query out, percent-encode the rest, "
            "for example '/caption/{model}' or '/v1/*'"
        )
    parts = _PARTS.split(text)
    if parts.count(MODEL) > 1:
        raise ConfigError(f"{text[:60]!r} names the model twice")
    for part in parts:
        if part.startswith("{") and part != MODEL:
            raise ConfigError(f"{part[:60]!r} is not known in a path: there are '{{model}}' and '*'")
    return compiled_path(text)
