"""``joulegate doctor``: what can be measured on this machine, and why."""

import shutil
from collections.abc import Sequence
from typing import Any

import click
import msgspec
from msgspec.structs import replace

from joulegate import log
from joulegate.cli.energy import MEASURED, Tried, try_all
from joulegate.cli.findings import Finding, Mark, render
from joulegate.cli.machine import look
from joulegate.cli.options import Settings, as_json, serving
from joulegate.cli.root import NOT_MEASURABLE
from joulegate.config.structs import Config
from joulegate.errors import FAILED
from joulegate.model import Tier

_NOBODY = ("http://127.0.0.1:1",)
"""Stands in for an upstream, which the doctor can do without."""


@click.command("doctor")
@click.option("--upstream", multiple=True, metavar="[NAME=]URL[,URL…]", help="A server to look at too.")
@as_json
@serving
@click.pass_context
def command(ctx: click.Context, /, upstream: tuple[str, ...], as_json: bool, **options: Any) -> None:
    """Report what can be measured here, and why.

    Exit code 0 if energy can be measured, 3 if it can only be modelled or not at all, 1 if joulegate would
    not start.
    """
    log.configure(json=False, level="error")
    config = _config(Settings(**options), upstream)
    tried = try_all(config)
    findings = [*look(config), *tried.findings]
    code, verdict = judge(findings, tried)
    if as_json:
        answer = {
            "verdict": verdict,
            "code": code,
            "source": tried.best,
            "tier": tried.tier,
            "findings": findings,
        }
        click.echo(msgspec.json.encode(answer))
    else:
        width = min(shutil.get_terminal_size().columns, 110)
        click.echo("\n".join([*render(findings, width), "", f"verdict: {verdict}"]))
    ctx.exit(code)


def judge(findings: Sequence[Finding], tried: Tried) -> tuple[int, str]:
    """Return the exit code and the verdict in one sentence."""
    bad = [finding.subject for finding in findings if finding.mark is Mark.BAD]
    if bad:
        return FAILED, f"joulegate would not start: {', '.join(bad)}"
    if tried.tier in MEASURED:
        how = "an energy counter" if tried.tier is Tier.COUNTER else "power readings"
        return 0, f"energy can be measured here: {tried.best}, by {how}"
    if tried.tier is Tier.ESTIMATE:
        return (
            NOT_MEASURABLE,
            f"energy can only be MODELLED here ({tried.best}), not measured; joulegate runs",
        )
    if tried.tier is Tier.SYNTHETIC:
        return NOT_MEASURABLE, f"watts are MADE UP here ({tried.best}), nothing is measured; joulegate runs"
    return NOT_MEASURABLE, "energy cannot be measured here; joulegate relays without figures"


def _config(settings: Settings, upstream: tuple[str, ...]) -> Config:
    if upstream or settings.config:
        return settings.resolved(upstream).config
    return replace(settings.resolved(_NOBODY).config, upstream=())
