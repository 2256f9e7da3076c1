"""Asking a running joulegate: the answer, or why there is none."""

from typing import Any

import pytest

from joulegate.cli.admin import NoAnswer, ask, status
from joulegate.errors import ConfigError


def test_status(fake_meter: Any) -> None:
    """The whole status comes back as it was sent."""
    assert status(fake_meter.address).version == "0.1.0"


def test_nobody_there() -> None:
    """A refused connection names the address and the remedy."""
    with pytest.raises(NoAnswer, match=r"127\.0\.0\.1:1: Connection refused; is `joulegate run` up\?"):
        ask("127.0.0.1:1", "/v1/status")


def test_a_wrong_address() -> None:
    """What is no address is a usage error."""
    with pytest.raises(ConfigError, match="host:port"):
        ask("nonsense", "/")


def test_another_program_there(fake_meter: Any) -> None:
    """A page that is not joulegate's is told apart."""
    with pytest.raises(NoAnswer, match="answers 404: nothing here"):
        ask(fake_meter.address, "/other")
    fake_meter.answers["/v1/status"] = b"<html>"
    with pytest.raises(NoAnswer, match="does not answer as joulegate"):
        status(fake_meter.address)


def test_a_wrong_question(fake_meter: Any) -> None:
    """What the caller got wrong is a usage error in the meter's own words."""
    fake_meter.problems["/v1/report"] = (400, b'{"error": "yesterday is no time"}')
    with pytest.raises(ConfigError, match=r"^yesterday is no time$"):
        ask(fake_meter.address, "/v1/report")


def test_a_server_on_all_interfaces_is_asked_here(fake_meter: Any) -> None:
    """0.0.0.0 is where a server listens, not where one calls."""
    port = fake_meter.address.rpartition(":")[2]
    assert status(f"0.0.0.0:{port}").ready
