"""Who pays: a tenant is known only by the credential that its request carries. Pure."""

import hashlib
import hmac
from collections.abc import Mapping

from msgspec import Struct

from joulegate.ports import Headers

_BEARER = b"bearer "
_CREDENTIALS = (b"authorization", b"x-api-key", b"api-key")
"""The two names without a scheme are those of clients of hosted services."""


class Tenants(Struct, frozen=True):
    """The tenants and the digests of their keys; the keys themselves are not kept."""

    digests: tuple[tuple[str, bytes], ...] = ()

    @classmethod
    def of(cls, keys: Mapping[str, str]) -> "Tenants":
        """Return the tenants of these API keys by tenant name."""
        return cls(tuple((name, _digest(key.encode())) for name, key in keys.items()))

    def identify(self, headers: Headers) -> str | None:
        """Return the tenant whose key the request carries, or ``None``.

        Digests of equal length are compared in constant time with every tenant's, so that the time taken
        says nothing about a key.
        """
        if not self.digests:
            return None
        for name, value in headers:
            if name.lower() in _CREDENTIALS:
                found = self._owner(_key(value))
                if found is not None:
                    return found
        return None

    def _owner(self, key: bytes) -> str | None:
        presented = _digest(key)
        matches = [name for name, digest in self.digests if hmac.compare_digest(presented, digest)]
        return matches[0] if matches else None


def _key(value: bytes) -> bytes:
    return value[len(_BEARER) :].strip() if value[: len(_BEARER)].lower() == _BEARER else value.strip()


def _digest(key: bytes) -> bytes:
    return hashlib.sha256(key).digest()
