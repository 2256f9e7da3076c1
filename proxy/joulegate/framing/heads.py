"""What servers say of their work in the head of an answer.

Text Generation Inference (``router/src/server.rs``) and Text Embeddings Inference (``router/src/lib.rs``) do:
counts, and durations in whole milliseconds. TEI's are means over the inputs of one request.
"""

from collections.abc import Mapping

from joulegate.framing.values import count, milliseconds
from joulegate.model import Fact, ServerTimings, TaskFacts
from joulegate.units import Nanoseconds

MARK = b"x-compute-type"
"""The field that all these heads have."""


def facts_of(fields: Mapping[bytes, bytes]) -> TaskFacts:
    """Return the counts in a head; names of fields are in lower case.

    TEI's tokens are all read, none written. TGI's written tokens are those of the one choice that it returns.
    """
    read = _whole(fields, b"x-compute-tokens")
    return TaskFacts(
        prompt_tokens=_fact(_whole(fields, b"x-prompt-tokens") if read is None else read),
        completion_tokens=_fact(_whole(fields, b"x-generated-tokens")),
        characters=_fact(_whole(fields, b"x-compute-characters")),
    )


def timings_of(fields: Mapping[bytes, bytes]) -> ServerTimings:
    """Return the durations in a head.

    TEI's inference is all prefill. TGI does not say where in its inference the prefill ends.
    """
    reads = b"x-compute-tokens" in fields
    return ServerTimings(
        queue=_duration(fields, b"x-queue-time"),
        prefill=_duration(fields, b"x-inference-time") if reads else None,
    )


def _whole(fields: Mapping[bytes, bytes], name: bytes) -> int | None:
    text = fields.get(name, b"")
    return count(int(text)) if text.isdigit() and len(text) <= 10 else None


def _fact(number: int | None) -> Fact | None:
    return None if number is None else Fact(number)


def _duration(fields: Mapping[bytes, bytes], name: bytes) -> Nanoseconds | None:
    return milliseconds(_whole(fields, name))
