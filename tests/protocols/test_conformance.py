"""Every protocol keeps its contract on every recording, however the bytes come."""

import json
import random
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from joulegate import plugins
from joulegate.ports import InferenceProtocol, about
from joulegate.testing import conformance
from joulegate.testing.conformance import Recording

FOLDER = Path(__file__).parent / "recordings"
CASES = list(conformance.every(FOLDER, plugins.names(plugins.PROTOCOLS)))
EVERY = pytest.mark.parametrize(("name", "recording"), CASES, ids=[case.name for _, case in CASES])
PAIRS = [(name, case) for name, case in CASES if case.direct is not None]
EACH = pytest.mark.parametrize("name", plugins.names(plugins.PROTOCOLS))
EACH_PAIR = pytest.mark.parametrize("name", sorted({name for name, _ in PAIRS}))
FAR = 200_000
"""A place in a body, taken modulo its length."""
Case = tuple[str, Recording]


@cache
def loaded(name: str) -> InferenceProtocol:
    plugin: InferenceProtocol = plugins.build(plugins.PROTOCOLS, name)
    return plugin


def test_every_protocol_has_recordings() -> None:
    """A protocol without a recording is not done."""
    assert {name for name, _ in CASES} == set(plugins.names(plugins.PROTOCOLS))


def test_a_protocol_without_recordings_is_named(tmp_path: Path) -> None:
    """Whoever adds a protocol is told what is missing."""
    with pytest.raises(AssertionError, match="the protocol brandnew has no recording"):
        list(conformance.every(tmp_path, ["brandnew"]))


@EVERY
def test_every_recording_says_where_it_comes_from(name: str, recording: Recording) -> None:
    """A recording is from a real server, or written from a source, and says which."""
    del name
    assert recording.exchange.origin.startswith(("recorded from ", "written"))


@EACH
def test_no_two_protocols_claim_a_route(name: str) -> None:
    """Only those share a route that name different kinds of servers; ``generic`` takes what others know."""
    mine = set(about(loaded(name)).kinds)
    recorded = [(case.exchange.method, case.exchange.path) for owner, case in CASES if owner == name]
    told = [tuple(route.split(" ", 1)) for route in about(loaded(name)).routes]
    others = [other for other in plugins.names(plugins.PROTOCOLS) if other not in (name, "generic")]
    rivals = [
        (other, method, path)
        for other in others
        if not (mine and (theirs := about(loaded(other)).kinds) and mine.isdisjoint(theirs))
        for method, path in (*recorded, *told)
        if loaded(other).matches(method, path)
    ]
    assert rivals == []


def test_kinds_of_servers_are_known() -> None:
    """A protocol that names kinds of servers names those of the configuration."""
    kinds = {kind for name in plugins.names(plugins.PROTOCOLS) for kind in about(loaded(name)).kinds}
    assert kinds <= set(plugins.names(plugins.SERVERS))


@EVERY
def test_facts_are_those_of_the_recording(name: str, recording: Recording) -> None:
    """Each exchange is told as its ``facts.json`` tells it."""
    conformance.check_facts(loaded(name), recording)


def drawn(
    name: str, times: int, among: list[tuple[str, Recording]]
) -> Iterator[tuple[Recording, random.Random]]:
    """Give recordings of one protocol, drawn at random but alike in every run, with dice for the rest.

    What fails says all that was drawn; a thousand examples of hypothesis would take ten times as long.
    """
    dice = random.Random(name)
    own = [case for owner, case in among if owner == name]
    for _ in range(times):
        yield dice.choice(own), dice


def cuts(dice: random.Random) -> list[int]:
    return [dice.randrange(FAR) for _ in range(dice.randrange(40))]


@EACH
def test_facts_do_not_depend_on_chunking(name: str) -> None:
    """However the network cuts the bodies, facts and content bytes are the same."""
    for recording, dice in drawn(name, 1000, CASES):
        conformance.check_chunking(loaded(name), recording, cuts(dice))


@EVERY
def test_single_bytes_are_told_alike(name: str, recording: Recording) -> None:
    """Even one byte at a time."""
    if len(recording.response) < 20_000:
        conformance.check_chunking(loaded(name), recording, range(len(recording.response)))


@EACH
def test_truncation_raises_nothing(name: str) -> None:
    """An answer that breaks off anywhere is told as far as it goes."""
    for recording, dice in drawn(name, 150, CASES):
        conformance.check_truncation(loaded(name), recording, dice.randrange(FAR))


@EACH
def test_garbage_raises_nothing(name: str) -> None:
    """Whatever a client or a server sends, the observer goes on, and no broken request is rewritten."""
    for recording, dice in drawn(name, 300, CASES):
        garbage = dice.randbytes(dice.randrange(300))
        conformance.check_garbage(loaded(name), recording, garbage, dice.randrange(FAR))


@EACH_PAIR
def test_clients_get_the_bytes_of_a_direct_run(name: str) -> None:
    """Asking for usage and taking it out again leaves what the server would have said."""
    for recording, dice in drawn(name, 1000, PAIRS):
        conformance.check_transparency(loaded(name), recording, cuts(dice))


@EVERY
def test_rewritten_requests_have_a_direct_run(name: str, recording: Recording) -> None:
    """Where joulegate asks for usage, the recording has what the client would have got without."""
    rewritten = conformance.rewrite_of(loaded(name), recording) is not None
    assert rewritten == (recording.direct is not None)


@EACH_PAIR
def test_cut_streams_lose_nothing(name: str) -> None:
    """A stream that ends in the middle of an event reaches the client to the last byte."""
    for recording, dice in drawn(name, 1000, PAIRS):
        conformance.check_cut_stream(loaded(name), recording, dice.randrange(FAR))


@EACH
def test_odd_paths_raise_nothing(name: str) -> None:
    """A protocol looks at any method and path without falling over."""
    conformance.check_names(loaded(name))


@pytest.mark.parametrize(
    "recording", [case for _, case in CASES if "llamacpp-chat" in case.name and b"usage" in case.response]
)
def test_recorded_facts_are_what_a_plain_reader_finds(recording: Recording) -> None:
    """The facts of real recordings agree with a reader that decodes every event."""
    documents = [
        json.loads(line.removeprefix(b"data: "))
        for line in recording.response.splitlines()
        if line.removeprefix(b"data: ").startswith(b"{")
    ]
    usages = [document["usage"] for document in documents if document.get("usage")]
    facts = recording.expected and recording.expected.facts
    assert facts
    assert facts.prompt_tokens
    assert facts.completion_tokens
    assert facts.choices
    assert facts.prompt_tokens.value == usages[-1]["prompt_tokens"]
    assert facts.completion_tokens.value == usages[-1]["completion_tokens"] * facts.choices.value


@pytest.mark.nightly
@EACH
def test_facts_do_not_depend_on_chunking_at_length(name: str) -> None:
    """The same, a hundred thousand times a protocol."""
    for recording, dice in drawn(name, 100_000, CASES):
        places = cuts(dice)
        conformance.check_chunking(loaded(name), recording, places)
        if recording.direct is not None:
            conformance.check_transparency(loaded(name), recording, places)
