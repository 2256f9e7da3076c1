"""Files and functions stay small enough to read at once."""

import ast
from collections import Counter
from pathlib import Path

FILE_LINES = 400
FUNCTION_LINES = 50

LARGE_FILES: dict[str, str] = {
    "proxy/joulegate/gateway/http/client_connection.py": "a connection and what all share: "
    "apart they were a circle",
    "proxy/joulegate/gateway/exchange/exchange.py": "one life: in two objects each read the other's flags",
}
"""Files that are longer, each with its reason."""

LARGE_FUNCTIONS: dict[str, str] = {}


def test_files_stay_small_or_say_why(root: Path) -> None:
    """A file that outgrows the bound hides an idea that wants a name."""
    large = {path for path, text in _texts(root) if text.count("\n") > FILE_LINES}
    assert large == set(LARGE_FILES)


def test_functions_stay_small_or_say_why(root: Path) -> None:
    """A function that outgrows the bound works on more than one level."""
    large = {
        f"{path}:{node.name}"
        for path, text in _texts(root)
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and _lines(node) > FUNCTION_LINES
    }
    assert large == set(LARGE_FUNCTIONS)


def _texts(root: Path) -> list[tuple[str, str]]:
    paths = [path for top in ("proxy", "exporters") for path in sorted((root / top).rglob("*.py"))]
    return [(str(path.relative_to(root)), path.read_text()) for path in paths]


def _lines(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    return (node.end_lineno or node.lineno) - node.lineno + 1


FOLDER_MODULES = 16
LARGE_FOLDERS = {
    "proxy/joulegate/cli": "a file a command",
    "proxy/joulegate/protocols": "a file a protocol",
    "proxy/joulegate/servers": "a file a server",
}
"""Folders with more modules, each with its reason: registries of plug-ins and commands."""


def test_folders_have_wings_not_heaps(root: Path) -> None:
    """A folder that outgrows the bound holds several subjects."""
    modules = [Path(path) for path, _ in _texts(root) if not path.endswith("/__init__.py")]
    sizes = Counter(str(path.parent) for path in modules)
    assert {folder for folder, size in sizes.items() if size > FOLDER_MODULES} == set(LARGE_FOLDERS)
