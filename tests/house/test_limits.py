"""docs/limits.md says what the code says."""

import ast
import importlib
import operator
import re
from pathlib import Path

import pytest
from msgspec import Struct

from joulegate.units import NANO

ROW = re.compile(r"^\| (?P<what>.+?) \| (?P<bound>.+?) \| .+? \| `(?P<file>[\w/.]+)` `(?P<name>[\w.]+)` \|$")
AMOUNT = re.compile(r"(?P<number>[\d,]+|2\^63 - 1)(?: (?P<unit>KiB|MiB|s))?")
UNITS = {"": 1, "s": 1, "KiB": 1 << 10, "MiB": 1 << 20}

SIZE = re.compile(
    r"_?(?:LARGEST|LONGEST|MOST|MAX|KEPT|KEEP|KNOWN|LIMIT|BOUND|OPEN|HELD|QUEUED)(?:_\w+)?|\w+_LIMIT"
)
ROOMS = ("gateway", "framing", "channel", "ledger", "usage_injection.py", "meter/requests", "meter/totals")
"""Where what clients and servers send is read and kept."""
NO_SIZE = {
    "framing/websocket.py _LONGEST_CONTROL": "RFC 6455's own limit; a longer frame is no websocket",
    "channel/frames.py _LARGEST": "the largest integer of MessagePack",
    "channel/identity.py LONGEST_HOST": "the name of this host",
    "channel/transports.py LONGEST": "the operating system's limit on the path of a socket",
}
"""Constants with such names that no client and no server can reach, each with its reason."""


def rows(root: Path) -> list[re.Match[str]]:
    """Return the rows of the page that name a constant."""
    lines = (root / "docs" / "limits.md").read_text(encoding="utf-8").splitlines()
    return [match for line in lines if (match := ROW.match(line))]


def amount(text: str) -> int:
    """Return what the page's words stand for: bytes, seconds or a number."""
    match = AMOUNT.fullmatch(text)
    assert match, f"{text!r} is no amount"
    number = 2**63 - 1 if "^" in match["number"] else int(match["number"].replace(",", ""))
    return number * UNITS[match["unit"] or ""]


def value(file: str, name: str) -> float:
    """Return the constant of this name, in seconds if it is a time."""
    place = file.removesuffix(".py").replace("/", ".")
    module = importlib.import_module(place if file.startswith("joulegate_") else f"joulegate.{place}")
    owner, _, member = name.rpartition(".")
    if owner:
        holder = vars(module)[owner]
        holder = holder() if isinstance(holder, type) and issubclass(holder, Struct) else holder
        return operator.attrgetter(member)(holder)
    return vars(module)[name]


def test_the_page_states_the_values_of_the_code(root: Path) -> None:
    """Each bound on the page is the constant that the code uses."""
    wrong = []
    for row in rows(root):
        stated, real = amount(row["bound"]), value(row["file"], row["name"])
        if row["bound"].endswith(" s") and real >= NANO:
            real /= NANO
        if stated != real:
            wrong.append(f"{row['file']} {row['name']}: {real}, the page says {row['bound']}")
    assert wrong == []


def test_every_row_names_its_constant(root: Path) -> None:
    """No bound stands on the page without a constant that it is compared with."""
    text = (root / "docs" / "limits.md").read_text(encoding="utf-8")
    table = [
        line for line in text.splitlines() if line.startswith("| ") and " at most | beyond it " not in line
    ]
    assert len(table) == len(rows(root)) > 50


@pytest.mark.parametrize("room", ROOMS)
def test_every_size_is_on_the_page(root: Path, room: str) -> None:
    """A new bound on what clients and servers send comes with its row."""
    top = root / "proxy" / "joulegate"
    stated = {f"{row['file']} {row['name']}" for row in rows(root)}
    files = [top / room] if room.endswith(".py") else sorted((top / room).rglob("*.py"))
    found = {
        f"{path.relative_to(top)} {name}"
        for path in files
        for name in sizes(path.read_text(encoding="utf-8"))
    }
    assert found - stated - set(NO_SIZE) == set()


def test_every_exception_is_still_there(root: Path) -> None:
    """An exception goes when its constant does."""
    top = root / "proxy" / "joulegate"
    gone = [
        name for name in NO_SIZE if name.split()[1] not in sizes((top / name.split()[0]).read_text("utf-8"))
    ]
    assert gone == []


def test_a_size_is_known_by_its_name() -> None:
    """Numbers are sizes if their names say so; times, texts and patterns are none."""
    text = 'LARGEST_HEAD = 5\n_MOST = 1 << 3\n_KEY_LIMIT: int = 2\nKEPT = re.compile("")\nOTHER = 3\n'
    assert sizes(text) == ["LARGEST_HEAD", "_MOST", "_KEY_LIMIT"]


def sizes(text: str) -> list[str]:
    """Return the names of the constants of a module that are sizes."""
    found = []
    for node in ast.parse(text).body:
        target = (
            node.targets[0]
            if isinstance(node, ast.Assign)
            else node.target
            if isinstance(node, ast.AnnAssign)
            else None
        )
        number = isinstance(node, ast.Assign | ast.AnnAssign) and isinstance(
            node.value, ast.Constant | ast.BinOp | ast.IfExp
        )
        if isinstance(target, ast.Name) and number and SIZE.fullmatch(target.id):
            found.append(target.id)
    return found
