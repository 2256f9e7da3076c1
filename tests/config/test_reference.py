"""The reference is complete and up to date."""

import inspect
from pathlib import Path

import msgspec

from joulegate.config import structs
from joulegate.config.load import load
from joulegate.config.reference import HEAD, reference

DOCUMENT = Path(__file__).parents[2] / "docs" / "configuration.md"


def test_the_document_is_the_generated_one() -> None:
    """docs/configuration.md says what the structs say: python -m joulegate.config.reference FILE."""
    assert DOCUMENT.read_text(encoding="utf-8") == reference()


def test_every_key_has_a_row_with_its_meaning() -> None:
    """No key of any struct goes without an explanation."""
    rows = [line for line in reference().splitlines() if line.startswith("| `")]
    keys = [
        field.encode_name
        for _, struct in inspect.getmembers(structs, lambda found: isinstance(found, type))
        if issubclass(struct, msgspec.Struct)
        and struct.__module__ == structs.__name__
        and struct is not structs.Config
        for field in msgspec.structs.fields(struct)
    ]
    assert sorted(row.split("`")[1] for row in rows) == sorted([*keys, "exporter", "exporters"])
    assert not [row for row in rows if row.endswith("|  |")]


def test_the_example_is_a_good_configuration(tmp_path: Path) -> None:
    """What the document shows can be used as it stands."""
    path = tmp_path / "example.toml"
    path.write_text(HEAD.split("```toml")[1].split("```")[0])
    assert len(load(path).upstream) == 2
