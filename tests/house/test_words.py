"""Names of servers stand where servers are dealt with, and no name stands for two things."""

import ast
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

VENDORS = re.compile(
    r"(?<![a-z])(?:(?:tgi|tei)(?![a-z])|vllm|sglang|text-generation-inference|llama|ollama|localai|lmdeploy|trtllm"
    r"|tensorrt|infinity_emb|koboldcpp|triton|kserve|comfyui|a1111|automatic1111|sdcpp|stable-diffusion|invokeai"
    r"|bentoml|torchserve|mlserver|hugging ?face|sagemaker|bedrock|azure|anthropic|openai)",
    re.IGNORECASE,
)
"""Makers and names of inference servers and services. Infinity and Forge are also words, and left out."""

AT_HOME = ("joulegate/protocols/", "joulegate/servers/", "joulegate/testing/")

ELSEWHERE = {
    "joulegate/cli/wrap.py": "examples of commands, for people",
    "joulegate/config/reference.py": "an example of a file, for people",
    "joulegate/config/structs.py": "examples in the reference, for people",
    "joulegate/ports/protocols.py": "the one dialect that most clients read must have its name somewhere",
    "joulegate/gateway/jobs/job_tracker.py": "fields of a request by which clients show who they are",
    "joulegate/framing/usage.py": "several protocols carry these forms of usage; and say whose",
    "joulegate/framing/heads.py": "heads of answers that come with routes of several protocols",
    "joulegate/framing/onward.py": "names of models that are elsewhere, whichever protocol asks for them",
    "joulegate/framing/drawing.py": "several protocols carry the members of a request that draws",
    "joulegate/framing/sound.py": "where a format of sound is described",
    "joulegate/usage_injection.py": "what two servers move into the event that is taken out of a stream",
}
"""Other files that name one, each with its reason. The list should only shrink."""

REPEATED = {
    "Plugin": "the class that makes a module a plug-in",
    "Options": "the settings of a plug-in, read beside its ``Plugin``",
    "Rule": "the class that makes a module a rule of attribution",
}
"""Names that more than one class in production has, each with its reason. The list should only shrink."""


def named(text: str) -> set[str]:
    """Return the vendors that a text names."""
    return {match[0].lower() for match in VENDORS.finditer(text)}


def test_no_vendor_is_named_outside_its_file(root: Path) -> None:
    """Whoever adds a server adds files and changes none; what else names one says why."""
    guilty = {
        name
        for name, text in production(root)
        if named(text) and not name.startswith(AT_HOME) and name not in ELSEWHERE
    }
    assert guilty == set()


def test_every_exception_is_still_needed(root: Path) -> None:
    """An exception goes when its file names no vendor any more."""
    texts = dict(production(root))
    assert [name for name in ELSEWHERE if not named(texts.get(name, ""))] == []


@pytest.mark.parametrize(
    ("text", "vendors"),
    [
        ("_VLLM = 1", {"vllm"}),
        ("llama.cpp, TGI and OpenAI's", {"llama", "tgi", "openai"}),
        ("forget the protein, the strategist and meteirology", set()),
    ],
)
def test_vendors_are_found_in_names_and_in_sentences(text: str, vendors: set[str]) -> None:
    """Parts of other words are none."""
    assert named(text) == vendors


def test_a_class_has_a_name_of_its_own(root: Path) -> None:
    """A reader who meets a name knows which class it is; the exceptions are all needed."""
    classes = Counter(
        node.name
        for name, text in production(root)
        if not name.startswith("joulegate/testing/")
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.ClassDef)
    )
    assert {name for name, times in classes.items() if times > 1} == set(REPEATED)


def production(root: Path) -> Iterator[tuple[str, str]]:
    """Return the name and the text of each source file."""
    for top in ("proxy", "exporters"):
        for path in sorted((root / top).rglob("*.py")):
            yield str(path.relative_to(root / top)), path.read_text(encoding="utf-8")
