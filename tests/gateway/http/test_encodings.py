"""Bodies that pass compressed are read on a copy, within bounds."""

import gzip
import random
import zlib
from collections.abc import Callable
from contextlib import nullcontext

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from joulegate.gateway.http import encodings
from joulegate.gateway.http.encodings import (
    AT_ONCE,
    FREE,
    PIECE,
    Undecodable,
    decoder,
    is_encoded,
    plain,
)
from joulegate.testing.conformance import pieces


def raw_deflate(body: bytes) -> bytes:
    engine = zlib.compressobj(wbits=-15)
    return engine.compress(body) + engine.flush()


CODINGS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "GZIP ": gzip.compress,
    "x-gzip": gzip.compress,
    "deflate": zlib.compress,
    "deflate, raw": raw_deflate,
}
if encodings.brotli:
    CODINGS["br"] = encodings.brotli.compress
if encodings.zstd:
    CODINGS["zstd"] = encodings.zstd.compress
REPEATED = st.builds(lambda part, times: part * times, st.binary(max_size=50), st.integers(0, 500))
EVERY = pytest.mark.parametrize("coding", CODINGS)


def unfold(coding: str, parts: list[bytes]) -> bytes:
    found = decoder({b"content-encoding": coding.partition(",")[0].encode()})
    assert found
    return b"".join(piece for part in parts for piece in found.feed(part))


@EVERY
@given(
    body=st.binary(max_size=2_000) | REPEATED,
    cuts=st.lists(st.integers(0, 5_000), max_size=20),
)
@settings(max_examples=50, deadline=None)
def test_bodies_unfold_however_they_are_cut(coding: str, body: bytes, cuts: list[int]) -> None:
    """Every byte comes out, in order, wherever the network cuts."""
    assert unfold(coding, pieces(CODINGS[coding](body), cuts)) == body


@EVERY
@pytest.mark.parametrize("size", [PIECE - 1, PIECE, PIECE + 1, 3 * PIECE])
def test_nothing_is_kept_back_at_the_size_of_a_piece(coding: str, size: int) -> None:
    """What fills a piece exactly is given at once, and so is what follows."""
    assert len(unfold(coding, [CODINGS[coding](b"ab" * size)])) == 2 * size


@pytest.mark.parametrize("coding", [coding for coding in CODINGS if coding in ("gzip", "zstd")])
def test_parts_that_follow_one_another_are_all_read(coding: str) -> None:
    """Several gzip members or zstd frames are one body."""
    assert unfold(coding, [CODINGS[coding](b"one") + CODINGS[coding](b"two")]) == b"onetwo"


@pytest.mark.parametrize("coding", [coding for coding in CODINGS if "raw" not in coding])
@given(garbage=st.binary(min_size=20, max_size=300))
def test_garbage_is_told(coding: str, garbage: bytes) -> None:
    """Bytes that are not what their field says raise one error or unfold to something, and nothing else."""
    try:
        unfold(coding, [garbage])
    except Undecodable:
        return


@EVERY
def test_a_bomb_is_given_up(coding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A short body that unfolds to very much is given up after a bounded part of it, piece by piece."""
    monkeypatch.setattr(encodings, "MOST_TIMES", 10)
    bomb = CODINGS[coding](bytes(2 * FREE))
    found = decoder({b"content-encoding": coding.partition(",")[0].encode()})
    assert found
    given_out = []
    with pytest.raises(Undecodable, match="unfold to more than"):
        given_out.extend(len(piece) for piece in found.feed(bomb))
    assert max(given_out) <= 2 * PIECE
    assert sum(given_out) <= FREE + 10 * len(bomb)


def test_a_long_body_is_given_up_at_the_largest_size() -> None:
    """However well it is packed, no more than a certain size is read of one body."""
    for size, whole in ((FREE, True), (FREE + 1, False)):
        found = decoder({b"content-encoding": b"gzip"}, largest=FREE)
        assert found
        with nullcontext() if whole else pytest.raises(Undecodable):
            assert sum(map(len, found.feed(gzip.compress(bytes(size))))) == size


def test_what_one_piece_unfolds_to_is_bounded() -> None:
    """However much the whole may be, one piece that arrives keeps nobody waiting."""
    found = decoder({b"content-encoding": b"gzip"})
    assert found
    noise = random.Random(1).randbytes(FREE // 4)
    packed = gzip.compress(noise * 4 + bytes(2 * AT_ONCE), 0)
    with pytest.raises(Undecodable):
        assert list(found.feed(packed))


@pytest.mark.parametrize(
    ("fields", "encoded", "read"),
    [
        ({}, False, False),
        ({b"content-type": b"gzip"}, False, False),
        ({b"content-encoding": b"gzip"}, True, True),
        ({b"content-encoding": b"identity"}, True, False),
        ({b"content-encoding": b"gzip, gzip"}, True, False),
        ({b"content-encoding": b"compress"}, True, False),
        ({b"x-body-compressed": b"gzip"}, True, True),
    ],
)
def test_only_known_codings_are_read(fields: dict[bytes, bytes], encoded: bool, read: bool) -> None:
    """What nothing here reads is left alone; SGLang's own field for requests is known."""
    assert is_encoded(fields) == encoded
    assert (decoder(fields) is not None) == read


def test_fields_of_the_unfolded_body_say_nothing_of_the_coding() -> None:
    """An observer is told of a plain body."""
    assert plain([(b"Content-Encoding", b"gzip"), (b"A", b"b"), (b"X-Body-Compressed", b"zstd")]) == [
        (b"A", b"b")
    ]
