"""Whom joulegate believes when a server says who it is."""

import errno
import os
import ssl
from pathlib import Path

import pytest
import trustme

from joulegate import tls as trust
from joulegate.errors import ConfigError


def test_a_file_of_authorities_takes_the_place_of_the_system_s(tmp_path: Path) -> None:
    """Whoever names an authority trusts that one and no other; names are checked in any case."""
    file = tmp_path / "ca.pem"
    trustme.CA().cert_pem.write_to_path(str(file))
    own = trust.context(str(file))
    assert len(own.get_ca_certs()) == 1
    for context in (own, trust.context(None)):
        assert context.check_hostname
        assert context.verify_mode is ssl.CERT_REQUIRED


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (None, "cannot be read: No such file"),
        (b"", "no certificate"),
        (b"-----BEGIN X\n\xff", "no certificate"),
    ],
)
def test_a_file_without_authorities_is_a_mistake_of_the_configuration(
    content: bytes | None, what: str, tmp_path: Path
) -> None:
    """It is told with the name of the file."""
    file = tmp_path / "ca.pem"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ConfigError, match=what) as told:
        trust.context(str(file))
    assert str(file) in str(told.value)


def test_a_path_that_is_none_is_told_too() -> None:
    """A zero byte is no error of the operating system."""
    with pytest.raises(ConfigError, match="cannot be read"):
        trust.context("/a\0b")


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (OSError(errno.ECONNREFUSED, os.strerror(errno.ECONNREFUSED)), "Connection refused"),
        (ConnectionAbortedError(), "ConnectionAbortedError"),
        (OSError("x" * 300), "x" * 200),
    ],
)
def test_an_error_without_a_certificate_has_its_own_words(error: OSError, told: str) -> None:
    """Plain errors say what the operating system says."""
    assert trust.reason(error) == told
