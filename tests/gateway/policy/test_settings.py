"""From the configuration to a gate's settings."""

import pytest

from joulegate.config import (
    Config,
    ListenConfig,
    RespondConfig,
    RouteConfig,
    TenantConfig,
    TimeoutConfig,
    UpstreamConfig,
)
from joulegate.errors import ConfigError
from joulegate.gateway.policy.settings import settings_from
from joulegate.model import Task, WorkClass


def test_every_setting_of_the_configuration_arrives() -> None:
    """Quantities, addresses and keys come out taken apart."""
    config = Config(
        upstream=(
            UpstreamConfig(
                "llm", "https://[::1]:8000", ca_file="/ca.pem", path="/a", strip_path=True, host="H.example",
                models=("m",),
                task="chat", model="d", max_in_flight=3, on_client_leave="finish",
            ),
        ),
        listen=ListenConfig(address="0.0.0.0:81"),
        timeout=TimeoutConfig("1 s", "2 s", "3 s", "4 s", "5 s", "6 s"),
        respond=RespondConfig(request_id=False, ask_usage=False),
        tenant=(TenantConfig("lab", "LAB_KEY"),),
        route=(RouteConfig("/a", method="PUT", work="admin"),),
    )  # fmt: skip
    settings = settings_from(config, {"lab": "key"})
    target = settings.upstreams[0]
    assert (target.endpoints[0].host, target.endpoints[0].port, target.host) == ("::1", 8000, "h.example")
    assert (target.endpoints[0].scheme, target.ca_file) == ("https", "/ca.pem")
    assert (target.task, target.model, target.max_in_flight, target.finish) == (Task.CHAT, "d", 3, True)
    assert (target.path, target.strip_path, target.models) == ("/a", True, ("m",))
    times = settings.timeouts
    assert [times.connect, times.first_byte, times.idle, times.head, times.body, times.drain] == [
        seconds * 10**9 for seconds in (1, 2, 3, 4, 5, 6)
    ]
    assert (settings.host, settings.port, settings.request_id, settings.ask_usage) == (
        "0.0.0.0",
        81,
        False,
        False,
    )
    assert [(rule.method, rule.work) for rule in settings.rules] == [("PUT", WorkClass.ADMIN)]
    assert settings.tenants.identify([(b"x-api-key", b"key")]) == "lab"


def test_a_quantity_that_is_none_is_named() -> None:
    """A wrong unit is an error of the configuration, not a surprise at the first request."""
    with pytest.raises(ConfigError, match="unit"):
        settings_from(Config(timeout=TimeoutConfig(idle="5 parsecs")), {})
