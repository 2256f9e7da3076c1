"""What one gate is told to do: the sections of the configuration, and what is compiled from them."""

from collections.abc import Mapping

from msgspec import Struct

from joulegate.config import Config, RespondConfig, TimeoutConfig, UpstreamConfig
from joulegate.gateway.policy.route_rules import RouteRule, route_rule
from joulegate.gateway.policy.task_rules import TaskRule, rule
from joulegate.gateway.policy.tenants import Tenants
from joulegate.processes import processors


class GateSettings(Struct, frozen=True):
    """All that a gate needs to know."""

    upstreams: tuple[UpstreamConfig, ...]
    timeouts: TimeoutConfig = TimeoutConfig()
    respond: RespondConfig = RespondConfig()
    tenants: Tenants = Tenants()
    tasks: tuple[TaskRule, ...] = ()
    rules: tuple[RouteRule, ...] = ()
    gates: int = 1
    """Gates on this host that serve the same upstreams."""


def settings_from(config: Config, keys: Mapping[str, str]) -> GateSettings:
    """Return the settings of a gate; ``keys`` is each tenant's API key by the tenant's name."""
    return GateSettings(
        upstreams=config.upstream,
        timeouts=config.timeout,
        respond=config.respond,
        tenants=Tenants.of(keys),
        tasks=tuple(map(rule, config.task)),
        rules=tuple(map(route_rule, config.route)),
        gates=config.listen.gates or processors(),
    )
