"""The shape of the configuration. A quantity is text with its unit, converted by ``config.quantities``."""

from typing import Any, Literal

from msgspec import Struct, field


class ListenConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """Addresses that joulegate listens on."""

    address: str = "127.0.0.1:8080"
    """Where clients come."""
    admin: str = "127.0.0.1:9464"
    """Metrics, health and the admin API; loopback unless you say otherwise."""
    gates: int = 1
    """Relay processes, all on ``address``; ``0`` is one a processor."""


class UpstreamConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """One inference server. Without ``path``, ``host`` and ``models`` it takes what no other one takes."""

    name: str
    """In metrics, reports and the path of a second ``--upstream``."""
    url: str | tuple[str, ...]
    """``http://host:port`` or ``https://host:port``; a list of them: replicas, see docs/replicas.md."""
    ca_file: str | None = None
    """Authorities (PEM) that alone vouch for an https server, in place of the system's."""
    path: str | None = None
    """Requests whose raw path is this prefix or goes on below it, for example ``/image``."""
    strip_path: bool = False
    """Take ``path`` off before the request goes on to the server."""
    host: str | None = None
    """Requests with this ``Host``, for example ``llm.example.org``."""
    models: tuple[str, ...] = ()
    """Requests that name one of these models; ``*`` stands for any characters."""
    kind: str = "auto"
    """What it is: ``auto`` asks it, see docs/protocols.md; ``vllm``, ``comfyui``, … is not asked; ``llm`` and
    ``image`` say only what work it does."""
    task: str | None = None
    """Task of all its inference requests, in place of the route's own."""
    model: str | None = None
    """Model of requests that name none."""
    gpus: Literal["auto"] | tuple[int | str, ...] = "auto"
    """Devices it works on: indices or UUIDs; ``auto`` finds them by port and process."""
    concurrency: int = 1
    """Image servers: requests that may share one batch."""
    max_in_flight: int = 0
    """More than this many at once are refused with 503; ``0`` is no bound."""
    on_client_leave: Literal["abort", "finish"] = "abort"
    """Stop the server's work when the client has left, or let it finish."""
    follow_jobs: bool = True
    """Ask the server after jobs that it accepted, where no traffic tells how they go on."""
    affinity: str | None = None
    """Which requests go to the same replica: ``prompt``, those whose prompts begin alike; ``header:NAME``,
    those with the same value of a header."""

    @property
    def urls(self) -> tuple[str, ...]:
        """Of its replicas, the only one as well."""
        return (self.url,) if isinstance(self.url, str) else self.url


class EnergyConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """Where energy is read."""

    source: str = "auto"
    """``auto`` takes the best that works: nvml, rapl, cpu_estimate."""
    period: str = "100 ms"
    """Time between readings of a device."""
    deadline: str = "250 ms"
    """A reading that takes longer is a failure."""
    options: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Settings of each source by its name, for example ``[energy.options.rapl] root = "/sys"``."""
    calibration: str = ""
    """File of sensor corrections that ``joulegate calibrate`` wrote; empty corrects nothing."""


class AttributionConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """How energy is shared among requests."""

    method: str = "auto"
    """``auto`` is the best rule there is; the others are named in docs/attribution.md."""
    settle: str = "30 s"
    """Time from the end of a request to its final figure, for rules that learn."""


class CarbonConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """How energy becomes emissions. Without ``zone`` or ``intensity`` there are no CO2e figures."""

    zone: str | None = None
    """ISO 3166 alpha-3 code, for example ``FRA``; ``WORLD`` for the world average."""
    intensity: str | None = None
    """An intensity of your own, for example ``56 g/kWh``."""
    source: str = "table"
    """``table`` is the yearly factors shipped with joulegate."""
    pue: float = 1.0
    """Power usage effectiveness of the site: above 1 the boundary is ``facility``."""


class MatchConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """Which requests a rule is about; all given fields must agree."""

    task: str | None = None
    """A task of docs/metrics.md, for example ``chat``."""
    model: str | None = None
    """A model as the metrics name it."""
    upstream: str | None = None
    """Name of an upstream."""
    tenant: str | None = None
    """Name of a tenant."""


class PlacesConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """JSON pointers (RFC 6901) to what counts, for example ``/usage/output``; an empty one is the whole body.

    An array counts its elements. In a form, ``/name`` is the field of that name.
    """

    model: str | None = None
    """Name of the model."""
    prompt_tokens: str | None = None
    """Tokens read."""
    completion_tokens: str | None = None
    """Tokens written."""
    choices: str | None = None
    """Results, for example of a batch."""
    images: str | None = None
    """Images made."""
    size: str | None = None
    """Their size as text, for example ``512x768``."""
    width: str | None = None
    """Their width in pixels."""
    height: str | None = None
    """Their height in pixels."""
    steps: str | None = None
    """Steps for each image."""
    frames: str | None = None
    """Frames of a video."""
    characters: str | None = None
    """A text whose characters count, or their number."""
    audio_in: str | None = None
    """Seconds of sound heard."""
    audio_out: str | None = None
    """Seconds of sound made."""


class RouteConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """A route of a server that joulegate does not know, or knows better than you want; see docs/routes.md.

    The first one that takes a request wins, before every protocol.
    """

    path: str
    """Raw path as the server gets it, without query; ``*`` stands for any characters, ``{model}`` for a part
    that names the model."""
    method: str = "POST"
    """HTTP method."""
    upstream: str | None = None
    """Name of the upstream whose route it is; without it, of all."""
    like: str | None = None
    """Read it as if it were this path, for example ``/invocations``."""
    task: str | None = None
    """A task of docs/metrics.md, for example ``image-captioning``."""
    work: Literal["inference", "model_load", "self_test", "admin", "probe", "remote"] | None = None
    """Why devices work for it; ``inference`` unless ``like`` says otherwise."""
    dialect: str | None = None
    """How errors of joulegate are written: as the clients of a protocol or server of this name read them, for
    example openai, anthropic, ollama, triton, torchserve or a1111, or plain."""
    request: PlacesConfig = PlacesConfig()
    """Places in the request's body."""
    answer: PlacesConfig = PlacesConfig()
    """Places in the answer's body or in the events of its stream, which count more than the request's."""


class TaskConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """A rule for the task of inference requests, in place of their route's.

    The first one that takes a request wins, before the upstream's own ``task``. All given fields must agree;
    ``*`` stands for any characters.
    """

    task: str
    """A task of docs/metrics.md, for example ``summarization``."""
    path: str | None = None
    """Path as the client sends it, without query, for example ``/v1/chat/*``."""
    model: str | None = None
    """The model that the request names, for example ``llama-3*``."""
    header: str | None = None
    """Name and value of a header field, for example ``X-App=digest``."""
    tenant: str | None = None
    """Name of a tenant."""
    upstream: str | None = None
    """Name of an upstream."""


class ModelConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """What a model was made for, before what the table that joulegate ships says of its name."""

    name: str
    """A model as requests name it; ``*`` stands for any characters, and case does not matter."""
    kind: Literal["task-specific", "multi-purpose"]
    """Trained for one task, or a model that is told its task by the prompt."""


class BudgetConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """A limit of energy or emissions over a calendar period."""

    name: str
    """In metrics and alerts."""
    limit: str
    """``40 kWh``, ``500 Wh``, ``3 MJ``, ``8 kg`` or ``750 g``."""
    period: Literal["hour", "day", "week", "month", "year"] = "month"
    """Calendar period after which it begins anew."""
    timezone: str = "UTC"
    """Where the period begins at midnight, for example ``Europe/Paris``."""
    match: MatchConfig = MatchConfig()
    """What it counts; without it everything."""


class TenantConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """Who pays, known by the credential that its requests carry."""

    name: str
    """In metrics and budgets."""
    key_env: str
    """Environment variable with the API key (``Authorization: Bearer`` or ``X-API-Key``)."""


class LedgerConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """The durable record."""

    path: str = ""
    """A file; empty is ``$XDG_STATE_HOME/joulegate/ledger.db``; ``:memory:`` keeps nothing."""
    keep_requests: str = "30 d"
    """Single requests older than this are dropped; the sums stay."""


class TimeoutConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """How long the gate waits."""

    connect: str = "10 s"
    """For the connection to a server."""
    first_byte: str = "600 s"
    """For the head of an answer."""
    idle: str = "600 s"
    """For the next bytes of an answer."""
    head: str = "10 s"
    """For the head of a request."""
    body: str = "60 s"
    """For the next bytes of a request body."""
    drain: str = "60 s"
    """For running requests after SIGTERM."""


class RespondConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """What joulegate adds for the client."""

    request_id: bool = True
    """The header ``Joulegate-Request-Id``."""
    ask_usage: bool = True
    """Ask servers for token counts where the client did not, and take them out of its answer again."""


class Config(Struct, frozen=True, forbid_unknown_fields=True):
    """All settings."""

    upstream: tuple[UpstreamConfig, ...] = ()
    listen: ListenConfig = ListenConfig()
    energy: EnergyConfig = EnergyConfig()
    attribution: AttributionConfig = AttributionConfig()
    carbon: CarbonConfig = CarbonConfig()
    route: tuple[RouteConfig, ...] = ()
    task: tuple[TaskConfig, ...] = ()
    model: tuple[ModelConfig, ...] = ()
    budget: tuple[BudgetConfig, ...] = ()
    tenant: tuple[TenantConfig, ...] = ()
    ledger: LedgerConfig = LedgerConfig()
    timeout: TimeoutConfig = TimeoutConfig()
    respond: RespondConfig = RespondConfig()
    exporters: tuple[str, ...] = ("prometheus",)
    """Where settled figures are published."""
