"""What models were made for."""

import csv
from pathlib import Path

import pytest

from joulegate.config import ModelConfig
from joulegate.meter.totals import model_kinds
from joulegate.meter.totals.model_kinds import MULTI_PURPOSE, TASK_SPECIFIC, ModelKinds, shipped


@pytest.mark.parametrize(
    ("model", "kind"),
    [
        ("google/flan-t5-xxl", MULTI_PURPOSE),
        ("bigscience/bloomz-7b1", MULTI_PURPOSE),
        ("gemma3-270m-q4-k-m.gguf", MULTI_PURPOSE),
        ("meta-llama/Llama-3.1-8B-Instruct", MULTI_PURPOSE),
        ("Qwen/Qwen3-Embedding-0.6B", TASK_SPECIFIC),
        ("distilbert/distilbert-base-uncased-finetuned-sst-2-english", TASK_SPECIFIC),
        ("nlptown/bert-base-multilingual-uncased-sentiment", TASK_SPECIFIC),
        ("facebook/bart-large-cnn", TASK_SPECIFIC),
        ("intfloat/multilingual-e5-small", TASK_SPECIFIC),
        ("stabilityai/stable-diffusion-xl-base-1.0", TASK_SPECIFIC),
        ("my-own", None),
        ("unknown", None),
        ("", None),
    ],
)
def test_models_are_known_by_their_names(model: str, kind: str | None) -> None:
    """The shipped table knows the usual names, with or without an owner; others are of no known kind."""
    assert ModelKinds().of(model) == kind


def test_the_configuration_wins() -> None:
    """Whoever serves a model knows best."""
    kinds = ModelKinds([ModelConfig("my-*", "task-specific"), ModelConfig("org/GEMMA", "task-specific")])
    assert kinds.of("my-own") == TASK_SPECIFIC
    assert kinds.of("org/gemma") == TASK_SPECIFIC
    assert kinds.of("gemma") == MULTI_PURPOSE


def test_every_row_says_where_it_comes_from() -> None:
    """A kind, a source and a licence in each row, and no pattern twice."""
    path = Path(model_kinds.__file__).with_suffix(".csv")
    rows = list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))
    assert {row["kind"] for row in rows} == {TASK_SPECIFIC, MULTI_PURPOSE}
    assert all(row["source"] and row["licence"] and None not in row for row in rows)
    assert len({pattern for pattern, _ in shipped()}) == len(rows)
