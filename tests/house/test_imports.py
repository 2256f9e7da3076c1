"""Every module can be imported on its own, and light things stay light."""

import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = ("aiohttp", "numpy", "rich", "pynvml", "structlog", "sqlite3", "prometheus_client")


def test_every_module_imports_in_a_fresh_interpreter(root: Path) -> None:
    """No module needs another one to have been imported first."""
    names = [
        ".".join(path.relative_to(root / top).with_suffix("").parts).removesuffix(".__init__")
        for top in ("proxy", "exporters")
        for path in sorted((root / top).rglob("*.py"))
        if path.name != "__main__.py"
    ]
    script = (
        "import importlib, sys\n"
        "before = set(sys.modules)\n"
        "for name in sys.argv[1:]:\n"
        "    importlib.import_module(name)\n"
        "    for module in set(sys.modules) - before:\n"
        "        if module.startswith('joulegate'): del sys.modules[module]\n"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", script, *names], check=True)


@pytest.mark.parametrize("arguments", [["--help"], ["--version"]])
def test_help_and_version_import_nothing_heavy(arguments: list[str]) -> None:
    """A person who asks for help does not wait for libraries that the answer does not need."""
    script = (
        "import sys\n"
        "from joulegate.cli import main\n"
        f"sys.argv = ['joulegate', *{arguments!r}]\n"
        "try: main()\n"
        "except SystemExit as end: assert not end.code, end.code\n"
        f"print('heavy:', [name for name in {HEAVY!r} if name in sys.modules])\n"
    )
    result = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert result.stdout.splitlines()[-1] == "heavy: []"


def test_no_module_holds_changing_state(root: Path) -> None:
    """Module level holds constants, types and functions: nothing is declared global."""
    guilty = [
        str(path)
        for top in ("proxy", "exporters")
        for path in sorted((root / top).rglob("*.py"))
        if any(line.strip().startswith("global ") for line in path.read_text().splitlines())
    ]
    assert guilty == []
