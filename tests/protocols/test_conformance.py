"""Every protocol keeps its contract on every recording, however the bytes come."""

import json
import random
from functools import cache
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from joulegate import plugins
from joulegate.model import ServerKind
from joulegate.ports import InferenceProtocol, about
from joulegate.testing import conformance
from joulegate.testing.conformance import Recording

FOLDER = Path(__file__).parent / "recordings"
CASES = list(conformance.every(FOLDER, plugins.names("protocols")))
EVERY = pytest.mark.parametrize(("name", "recording"), CASES, ids=[case.name for _, case in CASES])
PAIRS = [(name, case) for name, case in CASES if case.direct is not None]
EVERY_PAIR = pytest.mark.parametrize(("name", "recording"), PAIRS, ids=[case.name for _, case in PAIRS])
CUTS = st.lists(st.integers(0, 200_000), max_size=40)
EXAMPLES = settings(
    max_examples=200, derandomize=True, suppress_health_check=list(HealthCheck), database=None
)


@cache
def loaded(name: str) -> InferenceProtocol:
    plugin: InferenceProtocol = plugins.load("protocols", name).Plugin()
    return plugin


def test_every_protocol_has_recordings() -> None:
    """A protocol without a recording is not done."""
    assert {name for name, _ in CASES} == set(plugins.names("protocols"))


def test_a_protocol_without_recordings_is_named(tmp_path: Path) -> None:
    """Whoever adds a protocol is told what is missing."""
    with pytest.raises(AssertionError, match="the protocol brandnew has no recording"):
        list(conformance.every(tmp_path, ["brandnew"]))


@EVERY
def test_every_recording_says_where_it_comes_from(name: str, recording: Recording) -> None:
    """A recording is from a real server, or written from a source, and says which."""
    del name
    assert recording.exchange.origin.startswith(("recorded from ", "written"))


@pytest.mark.parametrize("name", plugins.names("protocols"))
def test_no_two_protocols_claim_a_route(name: str) -> None:
    """Only those share a route that name different kinds of servers; ``generic`` takes what others know."""
    mine = set(about(loaded(name)).kinds)
    recorded = [(case.exchange.method, case.exchange.path) for owner, case in CASES if owner == name]
    told = [tuple(route.split(" ", 1)) for route in about(loaded(name)).routes]
    others = [other for other in plugins.names("protocols") if other not in (name, "generic")]
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
    kinds = {kind for name in plugins.names("protocols") for kind in about(loaded(name)).kinds}
    assert kinds <= {kind.value for kind in ServerKind}


@EVERY
def test_facts_are_those_of_the_recording(name: str, recording: Recording) -> None:
    """Each exchange is told as its ``facts.json`` tells it."""
    conformance.check_facts(loaded(name), recording)


@pytest.mark.parametrize("name", plugins.names("protocols"))
@given(data=st.data())
@settings(EXAMPLES, max_examples=1000)
def test_facts_do_not_depend_on_chunking(name: str, data: st.DataObject) -> None:
    """However the network cuts the bodies, facts and content bytes are the same."""
    recording = data.draw(st.sampled_from([case for owner, case in CASES if owner == name]))
    conformance.check_chunking(loaded(name), recording, data.draw(CUTS))


@EVERY
def test_single_bytes_are_told_alike(name: str, recording: Recording) -> None:
    """Even one byte at a time."""
    if len(recording.response) < 20_000:
        conformance.check_chunking(loaded(name), recording, range(len(recording.response)))


@EVERY
@given(at=st.integers(0, 200_000))
@settings(EXAMPLES, max_examples=30)
def test_truncation_raises_nothing(name: str, recording: Recording, at: int) -> None:
    """An answer that breaks off anywhere is told as far as it goes."""
    conformance.check_truncation(loaded(name), recording, at)


@EVERY
@given(garbage=st.binary(max_size=300), at=st.integers(0, 200_000))
@settings(EXAMPLES, max_examples=50)
def test_garbage_raises_nothing(name: str, recording: Recording, garbage: bytes, at: int) -> None:
    """Whatever a client or a server sends, the observer goes on, and no broken request is rewritten."""
    conformance.check_garbage(loaded(name), recording, garbage, at)


@pytest.mark.parametrize("name", sorted({name for name, _ in PAIRS}))
@given(data=st.data())
@settings(EXAMPLES, max_examples=1000)
def test_clients_get_the_bytes_of_a_direct_run(name: str, data: st.DataObject) -> None:
    """Asking for usage and taking it out again leaves what the server would have said."""
    recording = data.draw(st.sampled_from([case for owner, case in PAIRS if owner == name]))
    conformance.check_transparency(loaded(name), recording, data.draw(CUTS))


@EVERY
def test_rewritten_requests_have_a_direct_run(name: str, recording: Recording) -> None:
    """Where joulegate asks for usage, the recording has what the client would have got without."""
    rewritten = conformance.rewrite_of(loaded(name), recording) is not None
    assert rewritten == (recording.direct is not None)


@EVERY_PAIR
@given(at=st.integers(0, 200_000))
@settings(EXAMPLES, max_examples=100)
def test_cut_streams_lose_nothing(name: str, recording: Recording, at: int) -> None:
    """A stream that ends in the middle of an event reaches the client to the last byte."""
    conformance.check_cut_stream(loaded(name), recording, at)


@pytest.mark.parametrize("name", plugins.names("protocols"))
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
@EVERY
def test_facts_do_not_depend_on_chunking_at_length(name: str, recording: Recording) -> None:
    """The same, a hundred thousand times a protocol."""
    dice = random.Random(recording.name)
    for _ in range(100_000 // sum(owner == name for owner, _ in CASES) + 1):
        cuts = [dice.randrange(200_000) for _ in range(dice.randrange(40))]
        conformance.check_chunking(loaded(name), recording, cuts)
        if recording.direct is not None:
            conformance.check_transparency(loaded(name), recording, cuts)
