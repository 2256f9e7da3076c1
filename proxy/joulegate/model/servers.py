"""The servers that are told apart: ``[[upstream]] kind`` and the label ``kind``."""

from collections.abc import Mapping
from enum import StrEnum


class ServerKind(StrEnum):
    """What an upstream is, as the configuration and the metrics write it."""

    LLAMACPP = "llamacpp"
    VLLM = "vllm"
    SGLANG = "sglang"
    TGI = "tgi"
    TEI = "tei"
    OLLAMA = "ollama"
    LMDEPLOY = "lmdeploy"
    TRTLLM = "trtllm"
    LOCALAI = "localai"
    INFINITY = "infinity"
    KOBOLDCPP = "koboldcpp"
    TRITON = "triton"
    KSERVE = "kserve"
    TORCHSERVE = "torchserve"
    BENTOML = "bentoml"
    HUGGINGFACE = "huggingface"
    COMFYUI = "comfyui"
    A1111 = "a1111"
    SDCPP = "sdcpp"
    INVOKEAI = "invokeai"
    OPENAI = "openai"
    """Some server with a list of models in OpenAI's form, and no other sign."""


TITLES: Mapping[str, str] = {
    ServerKind.LLAMACPP: "llama.cpp", ServerKind.VLLM: "vLLM", ServerKind.SGLANG: "SGLang",
    ServerKind.TGI: "Text Generation Inference", ServerKind.TEI: "Text Embeddings Inference",
    ServerKind.OLLAMA: "Ollama", ServerKind.LMDEPLOY: "LMDeploy", ServerKind.TRTLLM: "TensorRT-LLM",
    ServerKind.LOCALAI: "LocalAI", ServerKind.INFINITY: "Infinity", ServerKind.KOBOLDCPP: "KoboldCpp",
    ServerKind.TRITON: "Triton", ServerKind.KSERVE: "KServe", ServerKind.TORCHSERVE: "TorchServe",
    ServerKind.BENTOML: "BentoML", ServerKind.COMFYUI: "ComfyUI", ServerKind.A1111: "AUTOMATIC1111",
    ServerKind.SDCPP: "stable-diffusion.cpp", ServerKind.INVOKEAI: "InvokeAI",
    ServerKind.HUGGINGFACE: "Hugging Face Inference Toolkit",
    ServerKind.OPENAI: "OpenAI-compatible server",
}  # fmt: skip
"""Kinds in their makers' spelling."""

IMAGE_SERVERS = frozenset({ServerKind.COMFYUI, ServerKind.A1111, ServerKind.SDCPP, ServerKind.INVOKEAI})
"""They make images or videos and nothing else."""
TEXT_SERVERS = frozenset({
    ServerKind.LLAMACPP, ServerKind.VLLM, ServerKind.TGI, ServerKind.TEI, ServerKind.OLLAMA,
    ServerKind.LMDEPLOY, ServerKind.INFINITY,
})  # fmt: skip
"""They read and write tokens; the others may do either."""


DIALECTS = ("openai", "anthropic", "ollama", "triton", "torchserve", "a1111", "plain")
"""The forms of error that clients read; ``triton`` is ``{"error": "…"}``, ``plain`` a line of text."""


def work_of(kind: str) -> str:
    """Return the kind of work that settlement goes by: ``llm``, ``image``, or ``auto`` for either."""
    if kind in IMAGE_SERVERS:
        return "image"
    return "llm" if kind in TEXT_SERVERS else kind if kind in {"llm", "image"} else "auto"
