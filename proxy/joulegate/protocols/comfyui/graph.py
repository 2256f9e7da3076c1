"""What a ComfyUI graph asks for: its model, the size of its images, the steps of its samplers.

Node classes are known by their inputs rather than by their names, so that those of custom nodes count too.
The graph is the ``prompt`` of ``POST /prompt``; source: nodes.py of
https://github.com/comfyanonymous/ComfyUI.
"""

from collections.abc import Mapping

from msgspec import Raw, Struct

from joulegate.framing.values import CEILING, count, decode
from joulegate.model import Asked, Fact, FactSource, Node, Task, TaskFacts, WorkClass

MODELS = ("ckpt_name", "unet_name", "model_name", "gguf_name")
"""Inputs that name the model, the most telling first."""
_LOADS = frozenset({*MODELS, "clip_name", "vae_name", "lora_name", "control_net_name"})
"""Inputs of nodes that load something to work with."""
SCHEDULED = frozenset({"sigmas"})
"""A sampler with this input has its steps from a scheduler node, which counts in its place."""
LINKS = 8
"""Links that are followed to a number."""
MOST = 1_000
"""Nodes that are looked at; a larger graph has facts all the same, but no names of nodes."""


class GraphNode(Struct):
    """One node of a graph as a client sends it."""

    class_type: str = ""
    inputs: dict[str, Raw] = {}


Graph = Mapping[str, GraphNode]


class GraphReading(Struct, frozen=True):
    """What a graph says."""

    asked: Asked
    facts: TaskFacts
    nodes: tuple[Node, ...]


def read(graph: Graph, *, paid: bool = False) -> GraphReading:
    """Read a graph; what it does not say is unknown.

    ``paid``: it came with credentials for remote interfaces, without which no API node runs. If then no node
    loads a model or samples, all its work is done elsewhere.
    """
    sizes = [size for node in graph.values() if (size := _size(graph, node)) is not None]
    steps = {name: _steps(graph, node) for name, node in graph.items()}
    known = [number for number in steps.values() if number]
    width, height, images, frames = max(sizes, key=lambda size: size[0] * size[1], default=(None,) * 4)
    total = sum(known) if known else None
    pixels = width * height * (images or 1) if width and height else None
    return GraphReading(
        asked=Asked(
            model=_model(graph),
            width=width,
            height=height,
            steps=total,
            images=images,
            work=WorkClass.REMOTE if paid and not _local(graph, total) else None,
            task=Task.VIDEO_GENERATION if frames and frames > 1 else None,
        ),
        facts=TaskFacts(
            images=_derived(images), pixels=_derived(pixels), steps=_derived(total), frames=_derived(frames)
        ),
        nodes=tuple(
            Node(name[:64], node.class_type[:64], steps[name] or 0)
            for name, node in list(graph.items())[:MOST]
        ),
    )


def _local(graph: Graph, steps: int | None) -> bool:
    """Whether a model of this server works."""
    return bool(steps) or any(_LOADS & node.inputs.keys() for node in graph.values())


def _model(graph: Graph) -> str | None:
    for kind in MODELS:
        for node in graph.values():
            name = decode(node.inputs[kind], str) if kind in node.inputs else None
            if name and "Lora" not in node.class_type:
                return name
    return None


def _size(graph: Graph, node: GraphNode) -> tuple[int, int, int, int | None] | None:
    """Return width, height, images and frames of a node that makes an empty latent image or video."""
    if "Latent" not in node.class_type or "samples" in node.inputs:
        return None
    width, height = _number(graph, node, "width"), _number(graph, node, "height")
    if not width or not height:
        return None
    return width, height, _number(graph, node, "batch_size") or 1, _number(graph, node, "length")


def _steps(graph: Graph, node: GraphNode) -> int | None:
    """Return the denoising steps of a sampler or scheduler; of an advanced one those between its bounds."""
    steps = _number(graph, node, "steps")
    if steps is None or SCHEDULED & node.inputs.keys():
        return None
    start = _number(graph, node, "start_at_step") or 0
    end = _number(graph, node, "end_at_step")
    return max(0, min(steps, steps if end is None else end) - start)


def _number(graph: Graph, node: GraphNode, name: str) -> int | None:
    """Return a number that stands in a node or in one that it is linked to."""
    raw = node.inputs.get(name)
    for _ in range(LINKS):
        if raw is None:
            return None
        value = decode(raw, float)
        if value is not None:
            return count(int(value)) if abs(value) < CEILING else None
        link = decode(raw, tuple[str, int])
        linked = graph.get(link[0]) if link else None
        raw = _only_number(linked) if linked else None
    return None


def _only_number(node: GraphNode) -> Raw | None:
    """Return the one number of a primitive node, whatever its input is called, or where that comes from."""
    if "value" in node.inputs:
        return node.inputs["value"]
    numbers = [raw for raw in node.inputs.values() if decode(raw, float) is not None]
    return numbers[0] if len(numbers) == 1 else None


def _derived(value: int | None) -> Fact | None:
    return None if value is None else Fact(value, FactSource.DERIVED)
