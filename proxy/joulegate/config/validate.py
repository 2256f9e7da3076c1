"""Whether values of the right shape make sense: quantities, addresses, names, references. Pure.

Names of plug-ins are checked against those handed in, because this room does not know the plug-ins.
"""

import re
from collections.abc import Collection, Iterator, Mapping
from zoneinfo import ZoneInfo

from joulegate.config import routes, tasks, upstreams
from joulegate.config.addresses import address
from joulegate.config.lines import Path
from joulegate.config.problems import Problem
from joulegate.config.quantities import duration, energy_or_mass, intensity
from joulegate.config.rules import between, name, one_of, parsed, task, unique
from joulegate.config.structs import BudgetConfig, CarbonConfig, Config
from joulegate.errors import ConfigError
from joulegate.units import NANO, Micrograms, Nanoseconds, grams, seconds

Plugins = Mapping[str, Collection[str]]
"""Names of the plug-ins there are, by kind; a kind that is missing is not checked."""

METHODS = ("auto", "step-clock", "tokens", "tokens-capped", "overlap", "overlap-service")
"""Rules of attribution that may be asked for; a test holds them against ``joulegate.attribution``."""

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_ZONE = re.compile(r"[A-Z]{3}|WORLD", re.ASCII)
_MOST_INTENSE = 2_000
"""Grams CO2e per kWh; old lignite plants reach about 1,200, so more is a slip of the unit."""

_DURATIONS: Mapping[tuple[str, str], tuple[float, float]] = {
    ("energy", "period"): (0.001, 60),
    ("energy", "deadline"): (0.001, 60),
    ("attribution", "settle"): (0.1, 3_600),
    ("ledger", "keep_requests"): (60, 100 * 365.25 * 86_400),
    ("timeout", "connect"): (0.001, 3_600),
    ("timeout", "first_byte"): (0.001, 7 * 86_400),
    ("timeout", "idle"): (0.001, 7 * 86_400),
    ("timeout", "head"): (0.001, 3_600),
    ("timeout", "body"): (0.001, 86_400),
    ("timeout", "drain"): (0, 86_400),
}
"""Keys that hold a duration, with the least and the most that makes sense, in seconds."""


def problems(config: Config, plugins: Plugins) -> list[Problem]:
    """Return everything that is wrong with the values."""
    return [
        *upstreams.problems(config, plugins.get("servers")),
        *_listen(config),
        *_durations(config),
        *_plugins(config, plugins),
        *one_of(("attribution", "method"), config.attribution.method, METHODS),
        *_carbon(config.carbon),
        *routes.problems(config, sorted({*plugins.get("protocols", ()), *plugins.get("servers", ())})),
        *tasks.problems(config),
        *_budgets(config),
        *_tenants(config),
    ]


def _listen(config: Config) -> Iterator[Problem]:
    listen = config.listen
    yield from parsed(("listen", "address"), address, listen.address)
    yield from parsed(("listen", "admin"), address, listen.admin)
    if listen.address == listen.admin and not listen.admin.endswith(":0"):
        yield Problem(
            ("listen", "admin"), f"{listen.admin[:60]!r} is also listen.address: give it a port of its own"
        )
    yield from between(("listen", "gates"), listen.gates, 0, 1_024)


def _durations(config: Config) -> Iterator[Problem]:
    for (section, key), (least, most) in _DURATIONS.items():
        text = getattr(getattr(config, section), key)
        try:
            found = duration(text)
        except ConfigError as error:
            yield Problem((section, key), str(error))
            continue
        if not least * NANO <= found <= most * NANO:
            yield Problem((section, key), f"{text!r} is not between {_shown(least)} and {_shown(most)}")


def _shown(time: float) -> str:
    """Return a bound as it would be written in the file."""
    exact = Nanoseconds(round(time * NANO))
    return f"{exact // 10**6} ms" if exact < NANO else f"{seconds(exact):g} s"


def _plugins(config: Config, plugins: Plugins) -> Iterator[Problem]:
    energy = config.energy
    if "sources" in plugins:
        yield from one_of(("energy", "source"), energy.source, ["auto", *plugins["sources"]])
        for source in energy.options:
            yield from one_of(("energy", "options", source), source, plugins["sources"])
    if "carbon" in plugins:
        yield from one_of(("carbon", "source"), config.carbon.source, plugins["carbon"])
    for index, exporter in enumerate(config.exporters):
        if "exporters" in plugins:
            yield from one_of(("exporters", index), exporter, plugins["exporters"])


def _carbon(carbon: CarbonConfig) -> Iterator[Problem]:
    if carbon.zone is not None and not _ZONE.fullmatch(carbon.zone):
        yield Problem(
            ("carbon", "zone"),
            f"{carbon.zone[:60]!r} is no zone: write the three capital letters of ISO 3166, "
            "for example 'FRA', or 'WORLD'",
        )
    if carbon.intensity is not None:
        yield from parsed(("carbon", "intensity"), _plausible_intensity, carbon.intensity)
    yield from between(("carbon", "pue"), carbon.pue, 1, 10)


def _plausible_intensity(text: str) -> Micrograms:
    found = intensity(text)
    if grams(found) > _MOST_INTENSE:
        raise ConfigError(f"{text!r} is more than {_MOST_INTENSE} g/kWh, which no grid emits: check the unit")
    return found


def _budgets(config: Config) -> Iterator[Problem]:
    for index, budget in enumerate(config.budget):
        at: Path = ("budget", index)
        yield from name((*at, "name"), budget.name)
        yield from parsed((*at, "limit"), _positive_limit, budget.limit)
        yield from _timezone((*at, "timezone"), budget.timezone)
        yield from _match((*at, "match"), budget, config)
    yield from unique("budget", "name", [budget.name for budget in config.budget])


def _positive_limit(text: str) -> int:
    _, limit = energy_or_mass(text)
    if limit == 0:
        raise ConfigError(f"{text!r} allows nothing: write for example '40 kWh' or '8 kg'")
    return limit


def _timezone(path: Path, text: str) -> Iterator[Problem]:
    try:
        ZoneInfo(text)
    except (LookupError, ValueError, OSError):
        yield Problem(
            path, f"{text[:60]!r} is no time zone known here: write for example 'UTC' or 'Europe/Paris'"
        )


def _match(at: Path, budget: BudgetConfig, config: Config) -> Iterator[Problem]:
    match = budget.match
    yield from task((*at, "task"), match.task)
    if match.upstream is not None:
        yield from one_of((*at, "upstream"), match.upstream, [upstream.name for upstream in config.upstream])
    if match.tenant is not None:
        yield from one_of((*at, "tenant"), match.tenant, [tenant.name for tenant in config.tenant])


def _tenants(config: Config) -> Iterator[Problem]:
    for index, tenant in enumerate(config.tenant):
        yield from name(("tenant", index, "name"), tenant.name)
        if not _VARIABLE.fullmatch(tenant.key_env):
            # Never repeated: somebody may have written the key itself here.
            yield Problem(
                ("tenant", index, "key_env"),
                "is no name of an environment variable: put the key into one and name it here",
            )
    yield from unique("tenant", "name", [tenant.name for tenant in config.tenant])
