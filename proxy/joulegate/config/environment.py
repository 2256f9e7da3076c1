"""What the environment says: secrets and the place for files. The only reader of ``os.environ``."""

import os
from collections.abc import Mapping, MutableMapping
from pathlib import Path

from joulegate.config.structs import Config, TenantConfig
from joulegate.errors import ConfigError

_ENVIRONMENT: Mapping[str, str] = os.environ  # noqa: TID251 (the one reader, see the docstring)


def tenant_keys(config: Config, environment: Mapping[str, str] = _ENVIRONMENT) -> dict[str, str]:
    """Return the API key of each tenant. Raises ``ConfigError`` that names the variables, never a key."""
    wrong = [problem for tenant in config.tenant for problem in _key_problems(tenant, environment)]
    keys = {tenant.name: environment.get(tenant.key_env, "").strip() for tenant in config.tenant}
    wrong += _shared(keys) if not wrong else []
    if wrong:
        raise ConfigError("\n".join(wrong))
    return keys


def ledger_path(config: Config, environment: Mapping[str, str] = _ENVIRONMENT) -> str:
    """Return the ledger's file as configured, else ``$XDG_STATE_HOME/joulegate/ledger.db``.

    See https://specifications.freedesktop.org/basedir-spec/latest/; ``~`` is the home directory.
    """
    if config.ledger.path:
        return str(Path(config.ledger.path).expanduser()) if config.ledger.path != ":memory:" else ":memory:"
    state = environment.get("XDG_STATE_HOME", "")
    # A relative path in the variable is invalid and ignored, says the specification.
    base = Path(state) if state.startswith("/") else Path("~/.local/state").expanduser()
    return str(base / "joulegate" / "ledger.db")


def variable(name: str, environment: Mapping[str, str] = _ENVIRONMENT) -> str:
    """Return a variable, empty if it is not set."""
    return environment.get(name, "")


def changed(changes: Mapping[str, str], environment: Mapping[str, str] = _ENVIRONMENT) -> dict[str, str]:
    """Return the environment for a process to start, with some variables changed."""
    return {**environment, **changes}


def _key_problems(tenant: TenantConfig, environment: Mapping[str, str]) -> list[str]:
    key = environment.get(tenant.key_env)
    where = f"tenant {tenant.name!r}: the environment variable {tenant.key_env}"
    if key is None:
        return [f"{where} is not set; it must hold the tenant's API key"]
    if not key.strip():
        return [f"{where} is empty; it must hold the tenant's API key"]
    if not key.strip().isascii() or not key.strip().isprintable():
        return [f"{where} holds characters that no HTTP header may carry"]
    return []


def _shared(keys: Mapping[str, str]) -> list[str]:
    first: dict[str, str] = {}
    return [
        f"tenants {first[key]!r} and {name!r} have the same API key; give each its own"
        for name, key in keys.items()
        if first.setdefault(key, name) != name
    ]


def calculate_alone(environment: MutableMapping[str, str] = os.environ) -> None:  # noqa: TID251 (see the docstring)
    """Let linear algebra use one thread, unless the user said otherwise. Call it before numpy is imported.

    The matrices here are small, and OpenBLAS lets its other threads spin while they wait for work: on two
    busy processors that took fifteen times the processor time of the calculation.
    """
    for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        environment.setdefault(name, "1")
