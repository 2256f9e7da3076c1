"""Each source file has a test file at the mirror path."""

from collections.abc import Iterator
from pathlib import Path

EXCEPTIONS = {
    "joulegate/__main__.py": "one call; every end-to-end test goes through it",
    "joulegate/attribution/maths/arrays.py": "names of types only",
    "joulegate/clock.py": "two calls into the standard library",
}
"""Files without a test of their own, each with its reason. The list should only shrink."""

ROOMS_WITHOUT = {
    "joulegate/app": "the composition root; every end-to-end test goes through it",
    "joulegate/ports": "signatures only",
    "joulegate/model": "structs only; the channel and the ledger round-trip them",
    "joulegate/servers": "one conformance test over the folder: tests/servers/test_conformance.py",
    "joulegate/testing": "tested by the tests that use it",
}


def test_every_source_file_has_a_test_at_the_mirror_path(root: Path) -> None:
    """A newcomer finds the test of a file without searching."""
    missing = [name for name, mirror in _sources(root) if not mirror.exists() and not _excused(name)]
    assert missing == []


def test_every_exception_is_still_needed(root: Path) -> None:
    """An exception goes when its file gets a test or goes away."""
    sources = dict(_sources(root))
    stale = [name for name in EXCEPTIONS if name not in sources or sources[name].exists()]
    assert stale == []


def _sources(root: Path) -> Iterator[tuple[str, Path]]:
    for source_root, tests in (
        ("proxy/joulegate", "tests"),
        ("exporters/joulegate_exporters", "tests/exporters"),
    ):
        for path in sorted((root / source_root).rglob("*.py")):
            relative = path.relative_to(root / source_root)
            if path.name == "__init__.py":
                continue
            yield f"{Path(source_root).name}/{relative}", root / tests / relative.parent / f"test_{path.name}"


def _excused(name: str) -> bool:
    return name in EXCEPTIONS or any(name.startswith(f"{room}/") for room in ROOMS_WITHOUT)
