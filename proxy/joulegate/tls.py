"""Whom joulegate believes when a server says who it is: the TLS of its connections to upstreams."""

import ssl

from joulegate.errors import ConfigError


def context(ca_file: str | None) -> ssl.SSLContext:
    """Return a context that asks for a certificate for the host's name, from these authorities only.

    Without a file the authorities are the system's. Raises ``ConfigError`` for a file that holds none.
    """
    try:
        return ssl.create_default_context(cafile=ca_file)
    except ssl.SSLError as error:
        raise ConfigError(f"ca_file: {ca_file} holds no certificate in PEM form: {error.reason}") from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ConfigError(f"ca_file: {ca_file} cannot be read: {reason}") from error


def reason(error: OSError) -> str:
    """Return in at most 200 characters why a connection was not made, and what helps where it is TLS."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not accepted: {error.verify_message.rstrip('.')}{_remedy(error)}"[:200]
    if isinstance(error, ssl.SSLError):
        if error.reason in _NO_TLS:
            return "it does not speak TLS there: write http:// if that is meant"
        return f"TLS: {(error.reason or str(error)).replace('_', ' ').lower()}"[:200]
    return error.strerror or str(error)[:200] or type(error).__name__


_NO_TLS = {"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "PACKET_LENGTH_TOO_LONG", "RECORD_LAYER_FAILURE"}
"""How OpenSSL 1.1 and 3 name an answer that is no TLS record."""
_UNKNOWN_ISSUER = {18, 19, 20, 21}
"""X509_V_ERR of x509_vfy.h: self-signed, self-signed in the chain, issuer not found, leaf not verified."""


def _remedy(error: ssl.SSLCertVerificationError) -> str:
    return "; name its authority with ca_file" if error.verify_code in _UNKNOWN_ISSUER else ""
