"""Tests use the fakes of ``joulegate.testing`` or the real thing."""

import ast
from pathlib import Path

BANNED = {"unittest.mock", "mock", "pytest_mock"}


def test_no_test_uses_a_mock(root: Path) -> None:
    """A mock agrees with whatever its author believes: none is imported, none is asked for as a fixture."""
    guilty = [
        f"{path.relative_to(root)}:{line}"
        for top in ("tests", "bench", "examples", "grafana")
        for path in sorted((root / top).rglob("*.py"))
        for line in mocks(path.read_text())
    ]
    assert guilty == []


def test_mocks_are_found() -> None:
    """The check sees each way to have one."""
    assert mocks("from unittest import mock\n") == [1]
    assert mocks("import unittest.mock\n") == [1]
    assert mocks("from unittest.mock import MagicMock\n") == [1]
    assert mocks("def test(mocker):\n    ...\n") == [1]
    assert mocks("import mock_server\n") == []


def mocks(source: str) -> list[int]:
    """The lines that import a mock or take one as an argument."""
    return [node.lineno for node in ast.walk(ast.parse(source)) if hasattr(node, "lineno") and _is_mock(node)]


def _is_mock(node: ast.AST) -> bool:
    if isinstance(node, ast.Import):
        return any(alias.name in BANNED for alias in node.names)
    if isinstance(node, ast.ImportFrom):
        return node.module in BANNED or (
            node.module == "unittest" and any(a.name == "mock" for a in node.names)
        )
    return isinstance(node, ast.arg) and node.arg == "mocker"
