"""Serve a small Llama with random weights on vLLM for CPUs: nonsense text, but the real engine.

    make vllm    # installs it, and runs the tests with it
    .venv-vllm/bin/python examples/servers/vllm_server.py --port 8000

Scheduler, batches, streams, usage, aborts and metrics are vLLM's own. The model is made once in
``.cache/llama-random``: 4 layers, hidden size 256, a tokenizer of single bytes, 5 MB. The server is ready
after 75 to 95 s, most of which are imports.
"""

import argparse
import os
import sys
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast, set_seed

FOLDER = Path(__file__).parents[2] / ".cache" / "llama-random"
NAME = "llama-random"
ENDS = ("<s>", "</s>")
TEMPLATE = (
    "{% for message in messages %}{{ message['role'] }}: {{ message['content'] }}\n{% endfor %}"
    "{% if add_generation_prompt %}assistant:{% endif %}"
)
ENVIRONMENT = {"VLLM_CPU_KVCACHE_SPACE": "1", "HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1"}
OPTIONS = (
    "--host", "127.0.0.1", "--served-model-name", NAME, "--enforce-eager", "--max-model-len", "512",
    "--max-num-seqs", "8",
)  # fmt: skip


def main() -> None:
    """Make the model if it is not there, and become the server; further arguments are vLLM's."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--port", type=int, default=8000)
    arguments, further = parser.parse_known_args()
    if not FOLDER.exists():
        make(FOLDER)
    vllm = str(Path(sys.executable).parent / "vllm")
    command = [vllm, "serve", str(FOLDER), "--port", str(arguments.port), *OPTIONS, *further]
    os.execve(vllm, command, {**os.environ, **ENVIRONMENT})


def make(folder: Path) -> None:
    """Write tokenizer and weights into a new folder; the weights are the same every time."""
    part = folder.with_suffix(".part")
    tokenizer = byte_tokenizer()
    tokenizer.save_pretrained(part)
    set_seed(1)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=256,
        intermediate_size=688,
        num_hidden_layers=4,
        num_attention_heads=8,
        num_key_value_heads=4,
        max_position_embeddings=1024,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        tie_word_embeddings=True,
    )
    LlamaForCausalLM(config).save_pretrained(part)
    part.rename(folder)


def byte_tokenizer() -> PreTrainedTokenizerFast:
    """Return a tokenizer with one token a byte and the two ends."""
    words = [*ENDS, *sorted(pre_tokenizers.ByteLevel.alphabet())]
    tokenizer = Tokenizer(models.BPE({word: number for number, word in enumerate(words)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token=ENDS[0], eos_token=ENDS[1], chat_template=TEMPLATE
    )


if __name__ == "__main__":
    main()
