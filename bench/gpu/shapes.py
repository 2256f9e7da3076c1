"""How large the models, the traffic and the blocks are: for a data-centre GPU, and tiny for a CPU."""

from dataclasses import dataclass


@dataclass(frozen=True)
class LlmShape:
    """A transformer with random weights: grouped-query attention, gated feed-forward, no rotary part."""

    layers: int
    width: int
    heads: int
    kv_heads: int
    ffn: int
    vocab: int
    kv_tokens: int
    """Most tokens in the key-value pool; fewer where memory is short."""

    @property
    def head(self) -> int:
        return self.width // self.heads


@dataclass(frozen=True)
class UnetShape:
    """Residual convolutions at full resolution, attention at half of it."""

    channels: int
    blocks: int
    heads: int


@dataclass(frozen=True)
class Kind:
    """One class of requests: mean tokens in and out; ``stream`` is the part that is streamed."""

    task: str
    prompt: int
    out: int
    stream: float = 0.8


@dataclass(frozen=True)
class Size:
    """Everything that differs between the real run and the one on a CPU."""

    llm: LlmShape
    unet: UnetShape
    budget: int
    """Tokens that one step of the engine takes at most."""
    slots: int
    batches: tuple[int, ...]
    contexts: tuple[int, ...]
    prompts: tuple[int, ...]
    latents: tuple[int, ...]
    image_batches: tuple[int, ...]
    image_steps: tuple[int, ...]
    classes: tuple[Kind, ...]
    rate: float
    """LLM requests a second in the mixes."""
    image_rate: float
    burn: int
    """Side of the matrices of the foreign process."""
    group: float
    """Seconds of a row of the fit."""


CLASSES = (
    Kind("chat", 220, 200),
    Kind("rag", 3000, 60),
    Kind("write", 40, 600),
    Kind("summarise", 1500, 120),
    Kind("classify", 400, 4, stream=0),
    Kind("code", 800, 300),
    Kind("agent", 5000, 80),
    Kind("short", 50, 40),
)

FULL = Size(
    # 28 layers of 117 million weights: 6.6 GB in bf16, as an 3B model has.
    llm=LlmShape(28, 4096, 32, 8, 6144, 32_000, 560_000),
    unet=UnetShape(320, 4, 10),
    budget=2048,
    slots=128,
    batches=(1, 4, 16, 64, 128),
    contexts=(256, 2048, 8192),
    prompts=(512, 2048, 8192),
    latents=(64, 96, 128),
    image_batches=(1, 4),
    image_steps=(20, 30, 50),
    classes=CLASSES,
    rate=12.0,
    image_rate=0.5,
    burn=8192,
    group=1.0,
)

SMALL = Size(
    llm=LlmShape(2, 64, 4, 2, 128, 256, 20_000),
    unet=UnetShape(8, 1, 2),
    budget=128,
    slots=16,
    batches=(1, 4, 16),
    contexts=(16, 128),
    prompts=(32, 256),
    latents=(8, 16),
    image_batches=(1, 2),
    image_steps=(4,),
    classes=tuple(
        Kind(one.task, max(one.prompt // 16, 4), max(one.out // 16, 3), one.stream) for one in CLASSES
    ),
    rate=12.0,
    image_rate=4.0,
    burn=192,
    group=0.3,
)

SIZES = {"full": FULL, "small": SMALL}
