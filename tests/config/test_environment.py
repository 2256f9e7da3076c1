"""Secrets come from the environment and never show."""

import subprocess
import sys

import pytest

from joulegate.config.environment import calculate_alone, ledger_path, tenant_keys
from joulegate.config.structs import Config, LedgerConfig, TenantConfig
from joulegate.errors import ConfigError

TWO = Config(tenant=(TenantConfig("a", "KEY_A"), TenantConfig("b", "KEY_B")))


def test_each_tenant_has_its_key() -> None:
    """Keys are read from the variables that the configuration names."""
    assert tenant_keys(TWO, {"KEY_A": "one", "KEY_B": "two\n"}) == {"a": "one", "b": "two"}


def test_all_missing_and_empty_variables_are_named() -> None:
    """Both problems come at once, with the names of the variables."""
    with pytest.raises(ConfigError) as refused:
        tenant_keys(TWO, {"KEY_B": " "})
    first, second = str(refused.value).splitlines()
    assert "tenant 'a'" in first
    assert "KEY_A is not set" in first
    assert "KEY_B is empty" in second


@pytest.mark.parametrize(
    "environment", [{"KEY_A": "canary", "KEY_B": "canary"}, {"KEY_A": "canary\x01", "KEY_B": "b"}]
)
def test_a_refusal_never_shows_a_key(environment: dict[str, str]) -> None:
    """Two tenants with one key, or a key that no header can carry, are refused without showing it."""
    with pytest.raises(ConfigError) as refused:
        tenant_keys(TWO, environment)
    assert "canary" not in str(refused.value)


def test_where_the_ledger_is() -> None:
    """A configured path wins; else the state folder of the XDG specification is used."""
    assert ledger_path(Config(), {"XDG_STATE_HOME": "/state"}) == "/state/joulegate/ledger.db"
    assert ledger_path(Config(), {"XDG_STATE_HOME": "relative"}).endswith("/.local/state/joulegate/ledger.db")
    assert ledger_path(Config(ledger=LedgerConfig("/x/y.db")), {}) == "/x/y.db"
    assert ledger_path(Config(ledger=LedgerConfig(":memory:")), {}) == ":memory:"


def test_linear_algebra_uses_one_thread_unless_the_user_wants_more() -> None:
    """Threads that spin while they wait cost more than the work."""
    environment = {"OMP_NUM_THREADS": "4"}
    calculate_alone(environment)
    assert environment == {
        "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "4", "MKL_NUM_THREADS": "1",
    }  # fmt: skip


def test_numpy_comes_after_that() -> None:
    """What was imported before would not listen."""
    code = "import sys, joulegate.app, joulegate.cli.meter; sys.exit('numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
