"""What one gate is told to do: the configuration with every quantity and address taken apart."""

from collections.abc import Mapping

from msgspec import Struct

from joulegate.config import Config, TimeoutConfig, UpstreamConfig
from joulegate.config.addresses import Endpoint, address, endpoint
from joulegate.config.quantities import duration
from joulegate.gateway.policy.route_rules import RouteRule, route_rule
from joulegate.gateway.policy.task_rules import TaskRule, rule
from joulegate.gateway.policy.tenants import Tenants
from joulegate.model import Task
from joulegate.processes import processors
from joulegate.units import Nanoseconds


class Target(Struct, frozen=True):
    """One configured upstream."""

    name: str
    endpoints: tuple[Endpoint, ...]
    """Of its replicas."""
    ca_file: str | None = None
    """Authorities of https endpoints; without it the system's."""
    path: str | None = None
    strip_path: bool = False
    host: str | None = None
    """Without port, in lower case."""
    models: tuple[str, ...] = ()
    kind: str = "auto"
    """As configured; what was found out is the ``Upstream``'s."""
    task: Task | None = None
    model: str | None = None
    max_in_flight: int = 0
    """``0`` is no bound."""
    finish: bool = False
    """Let the server finish when the client has left."""
    follow_jobs: bool = True
    """Ask the server after jobs that no traffic tells of."""
    affinity: str | None = None
    """What requests for the same replica have in common: ``prompt`` or ``header:NAME``."""


class Timeouts(Struct, frozen=True):
    """How long the gate waits."""

    connect: Nanoseconds = Nanoseconds(10 * 10**9)
    first_byte: Nanoseconds = Nanoseconds(600 * 10**9)
    idle: Nanoseconds = Nanoseconds(600 * 10**9)
    head: Nanoseconds = Nanoseconds(10 * 10**9)
    body: Nanoseconds = Nanoseconds(60 * 10**9)
    drain: Nanoseconds = Nanoseconds(60 * 10**9)


class GateSettings(Struct, frozen=True):
    """All that a gate needs to know."""

    upstreams: tuple[Target, ...]
    host: str = "127.0.0.1"
    port: int = 8080
    timeouts: Timeouts = Timeouts()
    request_id: bool = True
    """Answers carry ``Joulegate-Request-Id``."""
    ask_usage: bool = True
    """Requests may be rewritten to ask for token counts."""
    tenants: Tenants = Tenants()
    tasks: tuple[TaskRule, ...] = ()
    gates: int = 1
    """Gates on this host that serve the same upstreams."""
    rules: tuple[RouteRule, ...] = ()


def settings_from(config: Config, keys: Mapping[str, str]) -> GateSettings:
    """Return the settings of a gate; ``keys`` is each tenant's API key by the tenant's name.

    Raises ``ConfigError`` for a quantity or an address that is none.
    """
    host, port = address(config.listen.address)
    return GateSettings(
        upstreams=tuple(target_of(upstream) for upstream in config.upstream),
        host=host,
        port=port,
        timeouts=_timeouts(config.timeout),
        request_id=config.respond.request_id,
        ask_usage=config.respond.ask_usage,
        tenants=Tenants.of(keys),
        tasks=tuple(map(rule, config.task)),
        gates=config.listen.gates or processors(),
        rules=tuple(map(route_rule, config.route)),
    )


def target_of(upstream: UpstreamConfig) -> Target:
    """Return what a gate needs to know of a checked upstream."""
    return Target(
        name=upstream.name,
        endpoints=tuple(map(endpoint, upstream.urls)),
        ca_file=upstream.ca_file,
        path=upstream.path,
        strip_path=upstream.strip_path,
        host=upstream.host.lower() if upstream.host else None,
        models=upstream.models,
        kind=upstream.kind,
        task=Task(upstream.task) if upstream.task else None,
        model=upstream.model,
        max_in_flight=upstream.max_in_flight,
        finish=upstream.on_client_leave == "finish",
        follow_jobs=upstream.follow_jobs,
        affinity=upstream.affinity,
    )


def _timeouts(config: TimeoutConfig) -> Timeouts:
    return Timeouts(
        connect=duration(config.connect),
        first_byte=duration(config.first_byte),
        idle=duration(config.idle),
        head=duration(config.head),
        body=duration(config.body),
        drain=duration(config.drain),
    )
