from pathlib import Path
from typing import Any

import pytest
import yaml


@pytest.fixture(scope="session")
def deploy(root: Path) -> Path:
    return root / "deploy"


@pytest.fixture(scope="session")
def compose(deploy: Path) -> dict[str, Any]:
    """The compose file as data."""
    return yaml.safe_load((deploy / "compose" / "compose.yml").read_text(encoding="utf-8"))


@pytest.fixture(scope="session")
def alert_names(root: Path) -> set[str]:
    """Names of all shipped alerts."""
    rules = yaml.safe_load((root / "grafana" / "rules" / "joulegate.alerts.yml").read_text(encoding="utf-8"))
    return {rule["alert"] for group in rules["groups"] for rule in group["rules"]}
