"""The shape of the configuration: typed values, each with its form in a file, its bounds and its default."""

from typing import Annotated, Any, Literal, TypeAlias

from msgspec import Meta, Struct, field

from joulegate.config.addresses import Address, Endpoint, endpoint, host_field
from joulegate.config.addresses import address as address_of
from joulegate.config.fields import Text
from joulegate.config.pointers import path_pattern, pointer
from joulegate.config.quantities import Limit, duration_between, intensity_text
from joulegate.config.quantities import intensity as intensity_of
from joulegate.config.quantities import limit as limit_of
from joulegate.config.texts import affinity as affinity_of
from joulegate.config.texts import (
    checked,
    client_path,
    filled,
    header_value,
    http_method,
    known_path,
    path_prefix,
    variable_name,
)
from joulegate.config.texts import name as name_of
from joulegate.config.texts import timezone as timezone_of
from joulegate.config.texts import zone as zone_of
from joulegate.model import Task
from joulegate.units import Micrograms, Nanoseconds, nanoseconds

_Name: TypeAlias = Annotated[str, Text(name_of)]
_Pointer: TypeAlias = Annotated[str, Text(checked(pointer))]
_Count: TypeAlias = Annotated[int, Meta(ge=1, le=1_000_000)]


class ListenConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """Addresses that joulegate listens on."""

    address: Annotated[Address, Text(address_of)] = Address("127.0.0.1", 8080)
    """Where clients come."""
    admin: Annotated[Address, Text(address_of)] = Address("127.0.0.1", 9464)
    """Metrics, health and the admin API; loopback unless you say otherwise."""
    gates: Annotated[int, Meta(ge=0, le=1_024)] = 1
    """Relay processes, all on ``address``; ``0`` is one a processor."""


class UpstreamConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """One inference server. Without ``path``, ``host`` and ``models`` it takes what no other one takes."""

    name: _Name
    """In metrics, reports and the path of a second ``--upstream``."""
    endpoints: Annotated[tuple[Endpoint, ...], Text(endpoint, Endpoint.text, many=True)] = field(name="url")
    """``http://host:port`` or ``https://host:port``; a list of them: replicas, see docs/replicas.md."""
    ca_file: Annotated[str, Text(filled("name a file or leave the key out"))] | None = None
    """Authorities (PEM) that alone vouch for an https server, in place of the system's."""
    path: Annotated[str, Text(path_prefix)] | None = None
    """Requests whose raw path is this prefix or goes on below it, for example ``/image``."""
    strip_path: bool = False
    """Take ``path`` off before the request goes on to the server."""
    host: Annotated[str, Text(host_field)] | None = None
    """Requests with this ``Host``, for example ``llm.example.org``."""
    models: tuple[str, ...] = ()
    """Requests that name one of these models; ``*`` stands for any characters."""
    kind: str = "auto"
    """What it is: ``auto`` asks it, see docs/protocols.md; ``vllm``, ``comfyui``, … is not asked; ``llm`` and
    ``image`` say only what work it does."""
    task: Task | None = None
    """Task of all its inference requests, in place of the route's own."""
    model: Annotated[str, Text(filled("name the model or leave the key out"))] | None = None
    """Model of requests that name none."""
    gpus: Literal["auto"] | tuple[int | str, ...] = "auto"
    """Devices it works on: indices or UUIDs; ``auto`` finds them by port and process."""
    concurrency: _Count = 1
    """Image servers: requests that may share one batch."""
    max_in_flight: Annotated[int, Meta(ge=0, le=1_000_000)] = 0
    """More than this many at once are refused with 503; ``0`` is no bound."""
    on_client_leave: Literal["abort", "finish"] = "abort"
    """Stop the server's work when the client has left, or let it finish."""
    follow_jobs: bool = True
    """Ask the server after jobs that it accepted, where no traffic tells how they go on."""
    affinity: Annotated[str, Text(affinity_of)] | None = None
    """Which requests go to the same replica: ``prompt``, those whose prompts begin alike; ``header:NAME``,
    those with the same value of a header."""


class EnergyConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """Where energy is read."""

    source: str = "auto"
    """``auto`` takes the best that works: nvml, rapl, cpu_estimate."""
    period: Annotated[Nanoseconds, duration_between("1 ms", "60 s")] = nanoseconds(0.1)
    """Time between readings of a device."""
    deadline: Annotated[Nanoseconds, duration_between("1 ms", "60 s")] = nanoseconds(0.25)
    """A reading that takes longer is a failure."""
    options: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Settings of each source by its name, for example ``[energy.options.rapl] root = "/sys"``."""
    calibration: str = ""
    """File of sensor corrections that ``joulegate calibrate`` wrote; empty corrects nothing."""


class AttributionConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """How energy is shared among requests."""

    method: str = "auto"
    """``auto`` is the best rule there is; the others are named in docs/attribution.md."""
    settle: Annotated[Nanoseconds, duration_between("100 ms", "1 h")] = nanoseconds(30)
    """Time from the end of a request to its final figure, for rules that learn."""


class CarbonConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """How energy becomes emissions. Without ``zone`` or ``intensity`` there are no CO2e figures."""

    zone: Annotated[str, Text(zone_of)] | None = None
    """ISO 3166 alpha-3 code, for example ``FRA``; ``WORLD`` for the world average."""
    intensity: Annotated[Micrograms, Text(intensity_of, intensity_text)] | None = None
    """An intensity of your own, for example ``56 g/kWh``."""
    source: str = "table"
    """``table`` is the yearly factors shipped with joulegate."""
    pue: Annotated[float, Meta(ge=1, le=10)] = 1.0
    """Power usage effectiveness of the site: above 1 the boundary is ``facility``."""
    options: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Settings of each source by its name; ``zone`` and ``intensity`` go to the source in use as well."""


class MatchConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """Which requests a rule is about; all given fields must agree."""

    task: Task | None = None
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

    model: _Pointer | None = None
    """Name of the model."""
    prompt_tokens: _Pointer | None = None
    """Tokens read."""
    completion_tokens: _Pointer | None = None
    """Tokens written."""
    choices: _Pointer | None = None
    """Results, for example of a batch."""
    images: _Pointer | None = None
    """Images made."""
    size: _Pointer | None = None
    """Their size as text, for example ``512x768``."""
    width: _Pointer | None = None
    """Their width in pixels."""
    height: _Pointer | None = None
    """Their height in pixels."""
    steps: _Pointer | None = None
    """Steps for each image."""
    frames: _Pointer | None = None
    """Frames of a video."""
    characters: _Pointer | None = None
    """A text whose characters count, or their number."""
    audio_in: _Pointer | None = None
    """Seconds of sound heard."""
    audio_out: _Pointer | None = None
    """Seconds of sound made."""


class RouteConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """A route of a server that joulegate does not know, or knows better than you want; see docs/routes.md.

    The first one that takes a request wins, before every protocol.
    """

    path: Annotated[str, Text(checked(path_pattern))]
    """Raw path as the server gets it, without query; ``*`` stands for any characters, ``{model}`` for a part
    that names the model."""
    method: Annotated[str, Text(http_method)] = "POST"
    """HTTP method."""
    upstream: str | None = None
    """Name of the upstream whose route it is; without it, of all."""
    like: Annotated[str, Text(known_path)] | None = None
    """Read it as if it were this path, for example ``/invocations``."""
    task: Task | None = None
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

    task: Task
    """A task of docs/metrics.md, for example ``summarization``."""
    path: Annotated[str, Text(client_path)] | None = None
    """Path as the client sends it, without query, for example ``/v1/chat/*``."""
    model: Annotated[str, Text(filled("name the model or leave the key out"))] | None = None
    """The model that the request names, for example ``llama-3*``."""
    header: Annotated[str, Text(header_value)] | None = None
    """Name and value of a header field, for example ``X-App=digest``."""
    tenant: str | None = None
    """Name of a tenant."""
    upstream: str | None = None
    """Name of an upstream."""


class ModelConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """What a model was made for, before what the table that joulegate ships says of its name."""

    name: Annotated[str, Text(filled("name a model, or write '*' for all of them"))]
    """A model as requests name it; ``*`` stands for any characters, and case does not matter."""
    kind: Literal["task-specific", "multi-purpose"]
    """Trained for one task, or a model that is told its task by the prompt."""


class BudgetConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """A limit of energy or emissions over a calendar period."""

    name: _Name
    """In metrics and alerts."""
    limit: Annotated[Limit, Text(limit_of)]
    """``40 kWh``, ``500 Wh``, ``3 MJ``, ``8 kg`` or ``750 g``."""
    period: Literal["hour", "day", "week", "month", "year"] = "month"
    """Calendar period after which it begins anew."""
    timezone: Annotated[str, Text(timezone_of)] = "UTC"
    """Where the period begins at midnight, for example ``Europe/Paris``."""
    match: MatchConfig = MatchConfig()
    """What it counts; without it everything."""


class TenantConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """Who pays, known by the credential that its requests carry."""

    name: _Name
    """In metrics and budgets."""
    key_env: Annotated[str, Text(variable_name)]
    """Environment variable with the API key (``Authorization: Bearer`` or ``X-API-Key``)."""


class LedgerConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """The durable record."""

    path: str = ""
    """A file; empty is ``$XDG_STATE_HOME/joulegate/ledger.db``; ``:memory:`` keeps nothing."""
    keep_requests: Annotated[Nanoseconds, duration_between("60 s", "36525 d")] = nanoseconds(30 * 86_400)
    """Single requests older than this are dropped; the sums stay."""


class TimeoutConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """How long the gate waits."""

    connect: Annotated[Nanoseconds, duration_between("1 ms", "1 h")] = nanoseconds(10)
    """For the connection to a server."""
    first_byte: Annotated[Nanoseconds, duration_between("1 ms", "7 d")] = nanoseconds(600)
    """For the head of an answer."""
    idle: Annotated[Nanoseconds, duration_between("1 ms", "7 d")] = nanoseconds(600)
    """For the next bytes of an answer."""
    head: Annotated[Nanoseconds, duration_between("1 ms", "1 h")] = nanoseconds(10)
    """For the head of a request."""
    body: Annotated[Nanoseconds, duration_between("1 ms", "1 d")] = nanoseconds(60)
    """For the next bytes of a request body."""
    drain: Annotated[Nanoseconds, duration_between("0 s", "1 d")] = nanoseconds(60)
    """For running requests after SIGTERM."""
    keep_alive: Annotated[Nanoseconds, duration_between("1 s", "1 d")] = nanoseconds(650)
    """For the next request on a client's connection. Longer than the 600 s of cloud load balancers, which
    would else reuse a connection that has just been closed."""


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
    exporter: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Settings of each exporter by its name, for example ``[exporter.mine] folder = "/var/lib/mine"``."""
