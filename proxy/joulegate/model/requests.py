"""What a client asked, what the server did, and the events that tell the meter so.

A meter holds hundreds of thousands of these while they wait for their figures. They hold no references that
could form a cycle, so the garbage collector need not visit them (``gc=False``).
"""

from enum import StrEnum
from typing import NewType

from msgspec import Struct

from joulegate.units import Nanoseconds

SpanId = NewType("SpanId", str)
"""Identity of one request, unique for ever; the value of ``Joulegate-Request-Id``."""


class Task(StrEnum):
    """What a model is used for: the ten tasks of Luccioni et al. 2023 (arXiv 2311.16863) and later ones."""

    TEXT_CLASSIFICATION = "text-classification"
    QUESTION_ANSWERING = "question-answering"
    MASKED_LANGUAGE_MODELLING = "masked-language-modelling"
    TOKEN_CLASSIFICATION = "token-classification"  # noqa: S105 (a task of the study)
    IMAGE_CLASSIFICATION = "image-classification"
    OBJECT_DETECTION = "object-detection"
    TEXT_GENERATION = "text-generation"
    SUMMARIZATION = "summarization"
    IMAGE_CAPTIONING = "image-captioning"
    IMAGE_GENERATION = "image-generation"
    CHAT = "chat"
    EMBEDDINGS = "embeddings"
    RERANK = "rerank"
    IMAGE_EDIT = "image-edit"
    VIDEO_GENERATION = "video-generation"
    SPEECH_SYNTHESIS = "speech-synthesis"
    SPEECH_RECOGNITION = "speech-recognition"
    MODERATION = "moderation"
    UNKNOWN = "unknown"


class WorkClass(StrEnum):
    """Why the device worked; only ``INFERENCE`` enters the figures of a task."""

    INFERENCE = "inference"
    MODEL_LOAD = "model_load"
    SELF_TEST = "self_test"
    """A health check for which the model runs."""
    ADMIN = "admin"
    """Control of the server; no device works."""
    PROBE = "probe"
    """A look at the server; no device works."""
    REMOTE = "remote"
    """The server had it answered by a machine elsewhere; no device here works."""


WORKLESS = frozenset({WorkClass.ADMIN, WorkClass.PROBE, WorkClass.REMOTE})
"""Classes of requests for which no device here works: they have no energy, and that is known."""


class FactSource(StrEnum):
    """How a number became known. A number that is not known is ``None`` in place of a ``Fact``."""

    REPORTED = "reported"
    DERIVED = "derived"
    ESTIMATED = "estimated"


class Fact(Struct, frozen=True, array_like=True, gc=False):
    """A count of work with the way it was got."""

    value: int
    source: FactSource = FactSource.REPORTED


class TaskFacts(Struct, frozen=True, omit_defaults=True, gc=False):
    """The work of one request in the normal form of every protocol; ``None`` is unknown.

    ``prompt_tokens`` include cached ones, ``completion_tokens`` include reasoning and all choices;
    ``pixels`` is the sum of width times height over the images; audio is in nanoseconds.
    """

    prompt_tokens: Fact | None = None
    cached_prompt_tokens: Fact | None = None
    cache_write_tokens: Fact | None = None
    completion_tokens: Fact | None = None
    reasoning_tokens: Fact | None = None
    choices: Fact | None = None
    images: Fact | None = None
    pixels: Fact | None = None
    steps: Fact | None = None
    frames: Fact | None = None
    audio_in: Fact | None = None
    audio_out: Fact | None = None
    characters: Fact | None = None
    work: WorkClass | None = None
    """What the answer shows the work to have been, where it shows more than the request did."""


class ServerTimings(Struct, frozen=True, omit_defaults=True, gc=False):
    """Durations that the server itself reports for one request."""

    queue: Nanoseconds | None = None
    load: Nanoseconds | None = None
    prefill: Nanoseconds | None = None
    decode: Nanoseconds | None = None


class Asked(Struct, frozen=True, omit_defaults=True, gc=False):
    """What the request asked for, as far as its protocol reads it."""

    model: str | None = None
    stream: bool | None = None
    max_tokens: int | None = None
    width: int | None = None
    height: int | None = None
    steps: int | None = None
    images: int | None = None
    work: WorkClass | None = None
    """What the body asks for, where it is not what the route is usually for."""
    task: Task | None = None
    """Likewise."""


class Outcome(StrEnum):
    """How a request ended; the label ``outcome``."""

    OK = "ok"
    CLIENT_ERROR = "client_error"
    """The server answered 4xx."""
    UPSTREAM_ERROR = "upstream_error"
    """The server answered 5xx."""
    CANCELLED = "cancelled"
    """The client left first."""
    OVERRAN = "overran"
    """The client left first, and the server went on working for it."""
    CLIENT_TIMEOUT = "client_timeout"
    UPSTREAM_REFUSED = "upstream_refused"
    UPSTREAM_RESET = "upstream_reset"
    UPSTREAM_TRUNCATED = "upstream_truncated"
    UPSTREAM_TIMEOUT = "upstream_timeout"
    STREAM_IDLE_TIMEOUT = "stream_idle_timeout"
    UPSTREAM_PROTOCOL_ERROR = "upstream_protocol_error"
    ORPHANED = "orphaned"
    """The gate died while the request was open."""


class Phase(StrEnum):
    """How far a request had come when it ended."""

    REQUEST = "request"
    """Its body was still on the way to the upstream."""
    WAITING = "waiting"
    """The upstream had not begun to answer."""
    RESPONSE = "response"
    """The answer was under way."""
    DONE = "done"


class JobState(StrEnum):
    """State of a job: work that a server accepts at once and does after its answer."""

    ACCEPTED = "accepted"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def outcome(self) -> Outcome | None:
        """How a job in this state ended, ``None`` if it has not."""
        return _OUTCOMES.get(self)


_OUTCOMES = {
    JobState.DONE: Outcome.OK,
    JobState.FAILED: Outcome.UPSTREAM_ERROR,
    JobState.CANCELLED: Outcome.CANCELLED,
}


class Node(Struct, frozen=True, array_like=True, gc=False):
    """A step of a job that has several, for example a node of a graph."""

    name: str
    """The server's own name of it, unique in the job."""
    kind: str = ""
    """What it does, for example ``KSampler``."""
    steps: int = 0
    """Denoising steps in it."""


class Stage(Struct, frozen=True, array_like=True, gc=False):
    """A step of a job and the time that it took: none if the server still had its result."""

    node: Node
    time: Nanoseconds = Nanoseconds(0)


class SpanOpened(Struct, frozen=True, tag="opened", omit_defaults=True, gc=False):
    """The head and body of a request have reached the gate, or its answer began before the body ended."""

    id: SpanId
    t: Nanoseconds
    upstream: str
    protocol: str
    task: Task
    work: WorkClass = WorkClass.INFERENCE
    route: str = ""
    """The protocol's own name of the route, from a closed set; never the raw path."""
    asked: Asked = Asked()
    body_bytes: int = 0
    tenant: str | None = None
    client_request_id: str | None = None
    replica: str = ""
    """``host:port`` of the server, if the upstream has several."""

    def work_in(self, facts: TaskFacts | None) -> WorkClass:
        """Return the class of work by all that is known: the answer's word counts more than the request's."""
        return (facts.work if facts else None) or self.work


class SpanFirstByte(Struct, frozen=True, tag="first_byte", gc=False):
    """The first content byte of the answer arrived."""

    id: SpanId
    t: Nanoseconds


class SpanChunks(Struct, frozen=True, tag="chunks", gc=False):
    """Streamed content chunks since the last such event: arrival times and content bytes of each."""

    id: SpanId
    times: list[Nanoseconds]
    sizes: list[int]


class SpanJob(Struct, frozen=True, tag="job", gc=False):
    """A job was accepted or began to run; it ends with ``SpanClosed``."""

    id: SpanId
    t: Nanoseconds
    state: JobState


class SpanClosed(Struct, frozen=True, tag="closed", omit_defaults=True, gc=False):
    """The request is over: its last byte was sent, it failed, or the upstream stopped after a cancel."""

    id: SpanId
    t: Nanoseconds
    outcome: Outcome
    status: int | None = None
    """Status sent to the client; ``None`` if it left before the head."""
    phase: Phase = Phase.DONE
    streamed: bool = False
    facts: TaskFacts = TaskFacts()
    timings: ServerTimings = ServerTimings()
    model: str | None = None
    """The model that the server says answered, where it says so."""
    response_bytes: int = 0
    """Content bytes of the answer."""
    client_left: Nanoseconds | None = None
    parse_failed: bool = False
    """The observer gave up on this answer; its facts are what was known until then."""
    overhead_request: Nanoseconds | None = None
    """Time that the gate itself took from the request's head to sending the upstream's."""
    overhead_response: Nanoseconds | None = None
    """Time that the gate itself took from the answer's head to the client's."""
    first_byte: Nanoseconds | None = None
    """When the first content byte came, of a request that is told of in one event."""
    job: str | None = None
    """The server's id of the job that this request was."""
    stages: tuple[Stage, ...] = ()
    """The steps of the job in their order, where the server tells of them."""
