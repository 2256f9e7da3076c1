"""Options that several commands share."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, TypeVar

import click
from msgspec import Struct

from joulegate import log, plugins
from joulegate.config.layers import Flags
from joulegate.config.load import Resolved, resolve

Function = TypeVar("Function", bound=Callable[..., Any])

ADMIN = "127.0.0.1:9464"


class Settings(Struct, frozen=True):
    """The options of a command that serves."""

    config: Path | None = None
    listen: str | None = None
    admin: str | None = None
    gates: int | None = None
    source: str | None = None
    zone: str | None = None
    ledger: str | None = None
    log: Literal["json", "text"] = "text"
    quiet: bool = False

    def resolved(self, upstream: tuple[str, ...] = ()) -> Resolved:
        """Return the checked configuration. Raises ``ConfigError`` with all problems."""
        flags = Flags(upstream, self.listen, self.admin, self.gates, self.source, self.zone, self.ledger)
        return resolve(self.config, flags, plugins=known_plugins(), options=plugins.option_problems)

    def logging(self) -> tuple[str, ...]:
        """Return form and level of the log."""
        return (self.log, self.level)

    @property
    def level(self) -> Literal["info", "warning"]:
        """The least of what is logged."""
        return "warning" if self.quiet else "info"

    def start_log(self) -> None:
        """Set up logging as asked."""
        log.configure(json=self.log == "json", level=self.level)


def known_plugins() -> dict[str, list[str]]:
    """Return the names that the configuration may use, by kind."""
    from joulegate.attribution import RULES  # late: few commands need it

    return {**{kind.name: plugins.names(kind) for kind in plugins.KINDS}, "rules": list(RULES)}


def serving(function: Function) -> Function:
    """Add the options that become ``Settings``."""
    for option in reversed(_SERVING):
        function = option(function)
    return function


as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON for a program.")
config_file = click.option(
    "--config",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Settings in TOML; see docs/configuration.md.",
)
admin_address = click.option(
    "--admin",
    default=ADMIN,
    show_default=True,
    metavar="HOST:PORT",
    help="Admin address of a running joulegate.",
)
log_format = click.option(
    "--log",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="Form of the log lines on standard error.",
)
socket_path = click.option(
    "--socket",
    type=click.Path(path_type=Path),
    required=True,
    metavar="PATH",
    help="Unix socket between the gates and the meter.",
)

_SERVING = (
    config_file,
    click.option("--listen", metavar="HOST:PORT", help="Where clients come [default: 127.0.0.1:8080]."),
    click.option("--admin", metavar="HOST:PORT", help=f"Metrics and admin API [default: {ADMIN}]."),
    click.option(
        "--gates", type=int, metavar="N", help="Relay processes; 0 is one a processor [default: 1]."
    ),
    click.option(
        "--source",
        metavar="NAME",
        help="auto, nvml, rapl, cpu_estimate, fake or a plug-in's [default: auto].",
    ),
    click.option("--zone", metavar="CODE", help="Grid zone for CO2e, for example FRA; WORLD is the average."),
    click.option("--ledger", metavar="FILE", help="The durable record; :memory: keeps nothing."),
    log_format,
    click.option("--quiet", is_flag=True, help="No banner, and only warnings in the log."),
)
