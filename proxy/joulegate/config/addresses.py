"""Listening addresses and upstream URLs as people write them, taken apart and checked. Pure."""

import re
from ipaddress import ip_address
from urllib.parse import SplitResult, urlsplit

from msgspec import Struct

from joulegate.errors import ConfigError

_HOST_NAME = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.-]{0,253}[A-Za-z0-9_])?\.?", re.ASCII)
_DEFAULT_PORTS = {"http": 80, "https": 443}


class Address(Struct, frozen=True):
    """Where joulegate listens."""

    host: str
    """Without the brackets of an IPv6 address."""
    port: int
    """0 is any free one."""

    def __str__(self) -> str:
        return f"{bracketed(self.host)}:{self.port}"


class Endpoint(Struct, frozen=True):
    """Where an upstream listens."""

    scheme: str
    host: str
    """Without the brackets of an IPv6 address."""
    port: int

    def text(self) -> str:
        """Return ``scheme://host:port``."""
        return f"{self.scheme}://{self.address()}"

    def address(self) -> str:
        """Return ``host:port``."""
        return f"{bracketed(self.host)}:{self.port}"


def address(text: str) -> Address:
    """Return the address ``127.0.0.1:8080``, ``[::1]:8080`` or ``name:8080``. Raises ``ConfigError``."""
    host, colon, port = text.rpartition(":")
    if not colon or not port.isdecimal() or not port.isascii():
        raise ConfigError(f"{text!r} is no address: write host:port, for example '127.0.0.1:8080'")
    if len(port) > 5 or int(port) > 65_535:
        raise ConfigError(f"{text!r}: port {port[:20]} is not between 0 and 65535")
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    if not bare:
        raise ConfigError(f"{text!r} names no host: write '0.0.0.0:{port}' for all interfaces")
    if ":" in bare and bare == host:
        raise ConfigError(f"{text!r}: put an IPv6 address in brackets, '[{host}]:{port}'")
    if not is_host(bare):
        raise ConfigError(f"{text!r}: {bare!r} is no host name or IP address")
    return Address(bare, int(port))


def endpoint(url: str) -> Endpoint:
    """Return scheme, host and port of an upstream's URL. The message never repeats credentials."""
    parts = _split(url)
    if parts.scheme not in _DEFAULT_PORTS:
        raise ConfigError(
            f"{redacted(url)!r} is no upstream URL: write 'http://host:port' or 'https://host:port'"
        )
    if "@" in parts.netloc:
        raise ConfigError(
            f"{redacted(url)!r} carries credentials, which joulegate never sends: "
            "take them out, the client's own Authorization header goes on to the server"
        )
    if not parts.hostname or not is_host(parts.hostname):
        raise ConfigError(f"{redacted(url)!r} names no valid host: write for example 'http://127.0.0.1:8000'")
    found = Endpoint(parts.scheme, parts.hostname, _port(url, parts))
    if parts.path not in {"", "/"} or parts.query or parts.fragment or url.endswith(("?", "#")):
        raise ConfigError(
            f"{redacted(url)!r}: only scheme, host and port are allowed, because the client's own path "
            f"goes on as it is: write {found.text()!r}"
        )
    return found


def host_field(text: str) -> str:
    """Return a host with or without port, as ``Host`` has it, in lower case. Raises ``ConfigError``."""
    if "://" in text or "/" in text:
        raise ConfigError(f"{text[:60]!r} is no host: leave scheme and path out")
    address(text if text.rpartition(":")[2].isdecimal() else f"{text}:0")
    return text.lower()


def is_host(text: str) -> bool:
    """Whether this is an IP address or a name of letters, digits, ``-``, ``_`` and dots."""
    try:
        ip_address(text)
    except ValueError:
        return _HOST_NAME.fullmatch(text) is not None
    return True


def bracketed(host: str) -> str:
    """Return the host as it stands in a URL."""
    return f"[{host}]" if ":" in host else host


def redacted(url: str) -> str:
    """Return at most 200 characters of a URL with what may be a secret in it replaced."""
    shown = re.sub(r"//[^/?#]*@", "//***@", url)
    return re.sub(r"\?.*", "?***", shown, flags=re.DOTALL)[:200]


def _split(url: str) -> SplitResult:
    if not url.isprintable() or " " in url:
        raise ConfigError(f"{redacted(url)!r} is no URL: it has blanks or control characters")
    try:
        return urlsplit(url)
    except ValueError as error:
        raise ConfigError(f"{redacted(url)!r} is no URL: {error}") from error


def _port(url: str, parts: SplitResult) -> int:
    try:
        port = parts.port
    except ValueError as error:
        raise ConfigError(f"{redacted(url)!r}: the port is not a number from 1 to 65535") from error
    if port == 0:
        raise ConfigError(f"{redacted(url)!r}: port 0 cannot be connected to")
    return port or _DEFAULT_PORTS[parts.scheme]
