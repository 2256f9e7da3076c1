"""A graph says what it asks for, whatever nodes it is made of."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from joulegate.model import Fact, FactSource, Task, WorkClass
from joulegate.protocols.comfyui.graph import GraphNode, read


def graph(**nodes: tuple[str, dict[str, object]]) -> dict[str, GraphNode]:
    return {
        name: GraphNode(kind, {key: Raw(msgspec.json.encode(value)) for key, value in inputs.items()})
        for name, (kind, inputs) in nodes.items()
    }


def test_a_lora_is_not_the_model() -> None:
    """The checkpoint is, wherever it stands; a diffusion model without one counts too."""
    loaders = graph(
        a=("LoraLoader", {"lora_name": "x", "model_name": "lora"}),
        b=("UNETLoader", {"unet_name": "flux"}),
        c=("CheckpointLoaderSimple", {"ckpt_name": "sdxl"}),
    )
    assert read(loaders).asked.model == "sdxl"
    del loaders["c"]
    assert read(loaders).asked.model == "flux"


def test_steps_of_all_samplers_count_once() -> None:
    """A hires pass adds to the first one; a sampler whose steps a scheduler makes adds none of its own."""
    found = read(
        graph(
            a=("KSampler", {"steps": 20}),
            b=("KSampler", {"steps": 10, "denoise": 0.5}),
            c=("BasicScheduler", {"steps": 8}),
            d=("SamplerCustom", {"sigmas": ["c", 0], "steps": 8}),
        )
    )
    assert found.facts.steps == Fact(38, FactSource.DERIVED)
    assert [node.steps for node in found.nodes] == [20, 10, 8, 0]


def test_a_graph_of_api_nodes_works_elsewhere() -> None:
    """It has credentials for that and loads nothing; with a model of this server's it works here too."""
    api = graph(a=("OpenAIGPTImage1", {"prompt": "x"}), b=("SaveImage", {"images": ["a", 0]}))
    assert read(api, paid=True).asked.work is WorkClass.REMOTE
    assert read(api).asked.work is None
    for node in (("UpscaleModelLoader", {"model_name": "4x"}), ("KSampler", {"steps": 4})):
        assert read({**api, **graph(c=node)}, paid=True).asked.work is None


def test_more_than_one_frame_is_a_video() -> None:
    """Video models draw single images too."""
    size = {"width": 64, "height": 64, "batch_size": 1}
    assert read(graph(a=("EmptyLatentVideo", {**size, "length": 33}))).asked.task is Task.VIDEO_GENERATION
    assert read(graph(a=("EmptyLatentVideo", {**size, "length": 1}))).asked.task is None


def test_numbers_may_come_by_links() -> None:
    """Through primitive nodes of any name; a ring of links ends."""
    found = read(
        graph(
            a=("EmptyLatentImage", {"width": ["p", 0], "height": ["q", 0], "batch_size": 2}),
            p=("INTConstant", {"int": 640}),
            q=("Reroute", {"value": ["p", 0]}),
            r=("KSampler", {"steps": ["r1", 0]}),
            r1=("Reroute", {"value": ["r1", 0]}),
        )
    )
    assert (found.asked.width, found.asked.height, found.asked.steps) == (640, 640, None)
    assert found.facts.pixels == Fact(2 * 640 * 640, FactSource.DERIVED)


@pytest.mark.parametrize("value", [float("1e300"), -1, "20", None, True, ["x", 0], [], {"a": 1}])
def test_what_cannot_be_true_is_unknown(value: object) -> None:
    """A hostile graph gives no facts."""
    assert read(graph(a=("KSampler", {"steps": value}))).facts.steps is None


VALUES = st.recursive(
    st.none() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3),
)


@given(inputs=st.dictionaries(st.text(max_size=3), VALUES, max_size=4))
def test_any_inputs_raise_nothing(inputs: dict[str, object]) -> None:
    """Whatever a client sends."""
    read(graph(a=("EmptyLatentImage", inputs), b=("KSampler", inputs)))
