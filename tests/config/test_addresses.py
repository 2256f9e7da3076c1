"""Addresses and URLs as people write them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulegate.config.addresses import Endpoint, address, endpoint, host_field, redacted
from joulegate.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("127.0.0.1:8080", ("127.0.0.1", 8080)),
        ("[::1]:0", ("::1", 0)),
        ("gate.example.org:65535", ("gate.example.org", 65_535)),
        ("0.0.0.0:80", ("0.0.0.0", 80)),
    ],
)
def test_addresses(text: str, expected: tuple[str, int]) -> None:
    """Host and port come apart, IPv6 without its brackets."""
    found = address(text)
    assert (found.host, found.port) == expected
    assert str(found) == text


@pytest.mark.parametrize(
    ("text", "remedy"),
    [
        ("8080", "host:port"),
        ("localhost", "host:port"),
        (":8080", "0.0.0.0:8080"),
        ("::1:8080", r"\[::1\]:8080"),
        ("127.0.0.1:99999", "between 0 and 65535"),
        ("127.0.0.1:http", "host:port"),
        ("http://x:80", "IPv6|host name"),
        ("a b:80", "no host name"),
    ],
)
def test_refused_addresses(text: str, remedy: str) -> None:
    """What is no address is refused with what to write instead."""
    with pytest.raises(ConfigError, match=remedy):
        address(text)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://127.0.0.1:8000", Endpoint("http", "127.0.0.1", 8000)),
        ("http://127.0.0.1:8000/", Endpoint("http", "127.0.0.1", 8000)),
        ("https://api.example.org", Endpoint("https", "api.example.org", 443)),
        ("HTTP://Host", Endpoint("http", "host", 80)),
        ("http://[::1]:9", Endpoint("http", "::1", 9)),
    ],
)
def test_endpoints(url: str, expected: Endpoint) -> None:
    """Scheme, host and port come apart; the port is the scheme's where none is written."""
    assert endpoint(url) == expected


@pytest.mark.parametrize(
    ("url", "remedy"),
    [
        ("127.0.0.1:8000", "http://host:port"),
        ("ftp://host", "http://host:port"),
        ("http://", "names no valid host"),
        ("http://host:0", "port 0"),
        ("http://host:99999", "1 to 65535"),
        ("http://host:port", "1 to 65535"),
        ("http://host:8000/v1", r"write 'http://host:8000'"),
        ("http://host?", "only scheme, host and port"),
        ("http://ho st", "blanks"),
        ("http://[::1", "no URL"),
        ("http://host\r\nX: y", "control characters"),
    ],
)
def test_refused_urls(url: str, remedy: str) -> None:
    """What is no upstream URL is refused with what to write instead."""
    with pytest.raises(ConfigError, match=remedy):
        endpoint(url)


@pytest.mark.parametrize(
    "url", ["http://user:canary@host", "http://host?key=canary", "ftp://canary@host", "http://a@b:canary@h:x"]
)
def test_a_refusal_never_repeats_a_secret(url: str) -> None:
    """Credentials and queries stay out of the message."""
    with pytest.raises(ConfigError) as refused:
        endpoint(url)
    assert "canary" not in str(refused.value)
    assert "canary" not in redacted(url)


@given(st.one_of(st.text(), st.text().map("http://{}".format), st.text().map("http://h:{}".format)))
def test_any_text_is_an_endpoint_or_refused(text: str) -> None:
    """Whatever the text, the answer is an endpoint that reads back the same, or a refusal."""
    try:
        found = endpoint(text)
    except ConfigError:
        return
    assert endpoint(found.text()) == found


@pytest.mark.parametrize(
    ("text", "expected"), [("H.example", "h.example"), ("h:81", "h:81"), ("[::1]", "[::1]")]
)
def test_host_fields(text: str, expected: str) -> None:
    """The field ``Host`` is a name with or without port, and its case does not matter."""
    assert host_field(text) == expected


@pytest.mark.parametrize("text", ["http://x", "x/y", "a b", ""])
def test_what_is_no_host_field(text: str) -> None:
    """A URL or nonsense is refused."""
    with pytest.raises(ConfigError):
        host_field(text)
