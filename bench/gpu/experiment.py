"""The one-GPU experiment: what requests cost by the counter, by the step log, and by joulegate.

    python bench/gpu/experiment.py --out DIR [--blocks idle,decode] [--scale 0.5 | small]

Needs numpy, pynvml and, for a GPU, torch; no network, and nothing of joulegate itself. See README.md.
"""

import argparse
import os
import sys
import time
import traceback
from functools import partial
from pathlib import Path

import analysis
import backend
import records
import shapes
from blocks import BLOCKS, Bench
from sampler import Sampler
from worker import Worker

SMALL = 0.03
"""Scale of time that goes with the small models."""


def main(arguments: list[str] | None = None) -> int:
    options = _options(arguments)
    size = shapes.SIZES["small" if options.scale == "small" else "full"]
    scale = SMALL if options.scale == "small" else float(options.scale)
    bench = _set_up(options, size, scale)
    begun = time.monotonic()
    names = options.blocks.split(",") if options.blocks else list(BLOCKS)
    print(f"{sum(BLOCKS[name][1] for name in names) * scale:.0f} s of blocks", flush=True)
    try:
        failed = [name for name in names if not run_block(bench, name)]
    finally:
        for role in list(bench.workers):
            bench.dismiss(role)
        bench.sampler.close()
    print(f"measured in {time.monotonic() - begun:.0f} s; raw data in {options.out}", flush=True)
    return analysis.main([str(options.out)]) or min(len(failed), 1)


def run_block(bench: Bench, name: str) -> bool:
    """Run a block; one that fails, for want of memory perhaps, is told and does not end the run."""
    block, seconds = BLOCKS[name]
    print(f"{name}: {(block.__doc__ or '').splitlines()[0]}", flush=True)
    try:
        block(bench, seconds * bench.scale)
    except Exception as error:
        traceback.print_exc()
        bench.skip(name, "failed", f"failed with {type(error).__name__}: {error}"[:300])
        for role in list(bench.workers):  # one that is in the middle of a job gives no clean answer any more
            bench.dismiss(role)
        return False
    return True


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for raw data and report")
    parser.add_argument("--blocks", default="", help=f"some of {','.join(BLOCKS)}; all of them without this")
    parser.add_argument(
        "--scale", default="1", help="factor on all durations, or small: tiny models, seconds"
    )
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda", help="where the models run")
    parser.add_argument("--backend", choices=["auto", "torch", "numpy"], default="auto")
    parser.add_argument("--gpu", type=int, default=0, help="index in NVML, whose energy is read")
    options = parser.parse_args(arguments)
    for name in filter(None, options.blocks.split(",")):
        if name not in BLOCKS:
            parser.error(f"--blocks: {name!r} is not one of {', '.join(BLOCKS)}")
    if options.scale != "small" and not _is_factor(options.scale):
        parser.error(f"--scale: {options.scale!r} is neither a number above 0 nor small")
    return options


def _is_factor(text: str) -> bool:
    try:
        return 0 < float(text) <= 10
    except ValueError:
        return False


def _set_up(options: argparse.Namespace, size: shapes.Size, scale: float) -> Bench:
    made = backend.make(options.device, options.backend)
    print(f"loading the models: {made.name}", flush=True)
    llm, unet = made.llm(size.llm), made.unet(size.unet)
    sampler = Sampler(options.gpu)
    recorder = records.Recorder(options.out)
    name = "small" if size is shapes.SMALL else "full"
    facts = {
        "backend": made.name,
        "size": name,
        "scale": scale,
        "attention": getattr(llm, "attention_name", "-"),
    }
    facts |= {
        "python": sys.version.split()[0],
        "pid": os.getpid(),
        "group": size.group,
        "kv_tokens": llm.kv_tokens,
    }
    recorder.facts(facts | sampler.facts())
    spawn = partial(Worker, device=options.device, kind=options.backend, size=name)
    return Bench(size, scale, made, llm, unet, sampler, recorder, spawn)


if __name__ == "__main__":
    sys.exit(main())
