"""Turns what the system says into what a person can do about it."""

from collections.abc import Iterator
from contextlib import contextmanager

from joulegate.config.addresses import Address
from joulegate.errors import ConfigError


@contextmanager
def port_taken(key: str, address: Address, option: str) -> Iterator[None]:
    """Return which address cannot be listened on, and how to choose another one."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise ConfigError(
            f"{key}: cannot listen on {address}: {reason}; choose another one with {option}"
        ) from error
