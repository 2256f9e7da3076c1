"""Every module can be imported on its own, and light things stay light."""

import ast
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


@pytest.mark.parametrize(
    ("module", "unwanted"),
    [
        (
            "joulegate.supervisor",
            (*set(HEAVY) - {"structlog", "rich"}, "click", "psutil", "uvloop", "joulegate.config"),
        ),
        ("joulegate.app.process", ("click", "aiohttp", "numpy", "joulegate.cli")),
        (
            "joulegate.app.gate",
            ("click", "aiohttp", "numpy", "sqlite3", "joulegate.meter", "joulegate.ledger"),
        ),
    ],
)
def test_a_process_imports_nothing_that_only_others_need(module: str, unwanted: tuple[str, ...]) -> None:
    """What lives as long as a run costs no memory for what another process does."""
    script = f"import sys, {module}; print([name for name in {unwanted!r} if name in sys.modules])"
    result = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert result.stdout == "[]\n"


def test_no_module_holds_changing_state(root: Path) -> None:
    """Module level holds constants, types and functions: no function rebinds or changes what is there."""
    guilty = [
        f"{path.relative_to(root)}:{line}"
        for top in ("proxy", "exporters")
        for path in sorted((root / top).rglob("*.py"))
        for line in changes_of_module_state(path.read_text())
    ]
    assert guilty == []


@pytest.mark.parametrize(
    "source",
    [
        "def f():\n    global x\n    x = 1\n",
        "SEEN = {}\ndef f(key):\n    SEEN[key] = 1\n",
        "SEEN: dict[str, int] = {}\nclass A:\n    def f(self):\n        SEEN['a'] += 1\n",
        "SEEN = set()\nasync def f(key):\n    SEEN.add(key)\n",
        "SEEN = [1]\ndef f():\n    del SEEN[0]\n",
    ],
)
def test_changes_of_module_state_are_found(source: str) -> None:
    """The check sees a rebinding, a store, an addition, a method that changes, a deletion."""
    assert changes_of_module_state(source)


def test_a_constant_table_is_no_changing_state() -> None:
    """What is only read, or is a local of the same name, is left alone."""
    assert not changes_of_module_state("T = {}\ndef f(k):\n    t = {}\n    t[k] = T.get(k)\n    return t\n")


CHANGING = {
    "add", "append", "appendleft", "clear", "discard", "extend", "insert", "pop", "popitem", "popleft",
    "remove", "setdefault", "update",
}  # fmt: skip


def changes_of_module_state(source: str) -> list[int]:
    """The lines on which a function rebinds or changes an object that its module holds."""
    tree = ast.parse(source)
    held = {
        target.id
        for node in tree.body
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None
        for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
        if isinstance(target, ast.Name)
    }
    functions = (n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef))
    return [node.lineno for function in functions for node in ast.walk(function) if _changes(node, held)]


def _changes(node: ast.AST, held: set[str]) -> bool:
    if isinstance(node, ast.Global):
        return True
    if isinstance(node, ast.Subscript) and not isinstance(node.ctx, ast.Load):
        return isinstance(node.value, ast.Name) and node.value.id in held
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        value = node.func.value
        return node.func.attr in CHANGING and isinstance(value, ast.Name) and value.id in held
    return False
