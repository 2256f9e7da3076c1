"""``joulegate check``: whether joulegate would start with this configuration."""

from typing import Any

import click
import msgspec

from joulegate import plugins
from joulegate.cli.options import Settings, as_json, serving
from joulegate.config.environment import ledger_path, tenant_keys
from joulegate.config.explain import Setting, explain
from joulegate.config.structs import Config
from joulegate.config.upstreams import addresses
from joulegate.ports.plugins import Context


@click.command("check")
@click.option("--upstream", multiple=True, metavar="[NAME=]URL[,URL…]", help="As in joulegate run.")
@click.option(
    "--explain", "explained", is_flag=True, help="Print each effective value and where it came from."
)
@as_json
@serving
def command(upstream: tuple[str, ...], explained: bool, as_json: bool, **options: Any) -> None:
    """Check a configuration without starting anything.

    Exit code 0 if it is good, 2 if not: then all problems are told, each with file, line and key.
    """
    resolved = Settings(**options).resolved(upstream)
    beyond_shape(resolved.config)
    settings = explain(resolved)
    if as_json:
        click.echo(msgspec.json.encode({"ok": True, "settings": settings}))
        return
    if explained:
        click.echo("\n".join(table(settings)))
    click.echo(f"ok: {summary(resolved.config)}")


def beyond_shape(config: Config) -> None:
    """Check what only the plug-ins and the environment know. Raises ``ConfigError``."""
    from joulegate.app.carbon import carbon_source
    from joulegate.app.protocols import check_routes
    from joulegate.meter.sampling.calibration import configured
    from joulegate.tls import context

    for name, options in config.energy.options.items():
        plugins.build(plugins.SOURCES, name, options, Context(addresses(config)))
    for name in config.exporters:
        plugins.build(plugins.EXPORTERS, name, config.exporter.get(name))
    configured(config.energy.calibration)
    for upstream in config.upstream:
        context(upstream.ca_file)
    carbon_source(config.carbon)
    check_routes(config)
    tenant_keys(config)


def summary(config: Config) -> str:
    """Return one sentence of what would run."""
    names = ", ".join(upstream.name for upstream in config.upstream)
    counts = [
        f"{len(tables)} {word}{'s' * (len(tables) != 1)}"
        for word, tables in (("budget", config.budget), ("tenant", config.tenant))
        if tables
    ]
    parts = [f"{config.listen.address} in front of {names}", f"admin on {config.listen.admin}", *counts]
    return "; ".join([*parts, f"ledger {ledger_path(config)}"])


def table(settings: list[Setting]) -> list[str]:
    """Return aligned lines ``key = value  # origin``."""
    left = [f"{setting.key} = {setting.value}" for setting in settings]
    width = min(max(map(len, left)), 70)
    return [f"{text:<{width}}  # {setting.origin}" for text, setting in zip(left, settings, strict=True)]
