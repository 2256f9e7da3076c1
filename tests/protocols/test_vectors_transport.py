"""Which test holds each of the vectors 15 to 25 that a transparent, metering proxy must pass."""

import ast
from pathlib import Path

import pytest

VECTORS: dict[int, tuple[str, str, tuple[str, ...]]] = {
    15: (
        "gzip, br and zstd answers, zstd requests: read on a copy, passed on as they came",
        "gateway/test_vector_15.py",
        (),
    ),
    16: (
        "a form of 1 GiB streams",
        "gateway/test_vectors.py",
        ("test_vector_16_an_upload_streams_in_constant_memory",),
    ),
    17: (
        "pictures of 50 MiB in base64 pass in constant memory",
        "gateway/test_vectors.py",
        ("test_vector_17_a_picture_of_50_mib_passes_in_constant_memory",),
    ),
    18: (
        "Triton's binary tensors behind a head of JSON",
        "gateway/test_stand_ins.py",
        ("test_tensors_pass_as_they_are_and_their_batch_is_known",),
    ),
    19: (
        "websockets: text, binary, ping, close codes, subprotocol",
        "gateway/exchange/test_tunnel.py",
        (
            "test_a_real_websocket_keeps_its_words",
            "test_bytes_pass_both_ways_as_they_are",
            "test_each_end_may_close_its_half",
            "test_a_refused_upgrade_is_an_answer_like_any_other",
        ),
    ),
    20: (
        "Expect, HEAD, chunked requests with trailers, two lengths in one request",
        "gateway/exchange/test_upstream_request.py",
        (
            "test_a_client_that_waits_for_a_go_gets_it",
            "test_a_request_that_is_refused_gets_no_go",
            "test_answers_without_a_body_end_with_their_head",
            "test_head_and_get_alternate_on_one_connection",
            "test_a_chunked_body_stays_chunked",
            "test_a_body_with_broken_framing_is_refused",
        ),
    ),
    21: (
        "a header field of 32 KiB",
        "gateway/exchange/test_upstream_request.py",
        ("test_a_header_field_of_32_kib_passes",),
    ),
    22: (
        "a line of 10 MiB in a stream",
        "gateway/test_vectors.py",
        ("test_vector_22_an_event_of_10_mib_passes_in_constant_memory",),
    ),
    23: (
        "a client that leaves while it sends, waits, reads (closing, resetting, half-closing)",
        "gateway/exchange/test_exchange.py",
        (
            "test_a_client_that_leaves_stops_the_upstream_at_once",
            "test_a_client_that_leaves_in_a_stalled_upload_is_noticed",
            "test_an_upstream_may_finish_without_its_client",
        ),
    ),
    24: (
        "a job that another client asks after than the one that submitted it",
        "gateway/test_vector_24.py",
        ("test_a_job_that_someone_else_polls_ends_when_it_ends",),
    ),
    25: (
        "a kept connection that the upstream closed: tried again only when nothing was sent",
        "gateway/exchange/test_upstream_request.py",
        (
            "test_a_connection_closed_while_idle_is_replaced",
            "test_a_post_is_tried_exactly_once",
            "test_what_cannot_be_sent_again_does_not_go_over_a_kept_connection",
            "test_a_kept_connection_that_began_to_answer_is_not_tried_again",
        ),
    ),
}
"""By number: what it is, the file below tests/, and the tests that hold it; none named is the whole file."""

ELSEWHERE: dict[int, dict[str, tuple[str, ...]]] = {
    18: {"protocols/test_kserve.py": ("test_tensors_behind_the_head_are_not_read",)},
    19: {"gateway/spans/test_websocket_observation.py": ("test_what_passes_is_told_and_passes_as_it_is",)},
    20: {"gateway/exchange/test_dispatcher.py": ("test_what_could_mean_two_things_goes_nowhere",)},
    23: {
        "gateway/test_vectors.py": ("test_vector_23_a_client_that_leaves_after_the_last_byte_lost_nothing",),
        "gateway/test_stand_ins.py": ("test_a_client_that_leaves_stops_nothing_but_interrupting_does",),
    },
    24: {
        "gateway/jobs/test_job_tracker.py": ("test_another_gate_tells_under_an_id_of_its_own",),
        "meter/requests/test_job_joiner.py": ("test_the_order_in_which_gates_tell_does_not_matter",),
    },
}
"""More tests of the same vectors in other files."""


@pytest.mark.parametrize("number", range(15, 26))
def test_every_vector_has_its_tests(number: int, root: Path) -> None:
    """A test that is renamed takes its line in the table with it."""
    _, file, names = VECTORS[number]
    for path, wanted in ((file, names), *ELSEWHERE.get(number, {}).items()):
        there = _tests(root / "tests" / path)
        assert there >= set(wanted), path
        assert there, path


def _tests(path: Path) -> set[str]:
    tree = ast.parse(path.read_text())
    functions = (node for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
    return {node.name for node in functions if node.name.startswith("test_")}
