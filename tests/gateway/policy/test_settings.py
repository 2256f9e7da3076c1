"""From the configuration to a gate's settings."""

from joulegate.config import Config, RouteConfig, TaskConfig, TenantConfig, TimeoutConfig, UpstreamConfig
from joulegate.config.addresses import endpoint
from joulegate.gateway.policy.settings import settings_from
from joulegate.model import Task, WorkClass
from joulegate.units import nanoseconds


def test_the_sections_arrive_as_they_are_and_patterns_compiled() -> None:
    """A gate goes by the configuration's own sections; only rules and keys are made into something else."""
    config = Config(
        upstream=(UpstreamConfig("llm", (endpoint("https://[::1]:8000"),), task=Task.CHAT),),
        timeout=TimeoutConfig(idle=nanoseconds(3)),
        tenant=(TenantConfig("lab", "LAB_KEY"),),
        route=(RouteConfig("/a", method="PUT", work="admin"),),
        task=(TaskConfig(Task.SUMMARIZATION, path="/v1/*"),),
    )
    settings = settings_from(config, {"lab": "key"})
    assert settings.upstreams is config.upstream
    assert (settings.timeouts, settings.respond) == (config.timeout, config.respond)
    assert [(rule.method, rule.work) for rule in settings.rules] == [("PUT", WorkClass.ADMIN)]
    assert [rule.task for rule in settings.tasks] == [Task.SUMMARIZATION]
    assert settings.tenants.identify([(b"x-api-key", b"key")]) == "lab"
