"""CPU time of settlement under load: `python bench/settlement.py [--rate 200] [--seconds 60]`."""

import argparse
import cProfile
import pstats
import random
import time

from joulegate.attribution import build
from joulegate.model import (
    Asked,
    Device,
    DeviceId,
    EnergySample,
    Fact,
    Outcome,
    SpanChunks,
    SpanClosed,
    SpanEvent,
    SpanId,
    SpanOpened,
    Task,
    TaskFacts,
    Tier,
    UpstreamSetup,
)
from joulegate.units import NANO, Microjoules, Nanoseconds

STEP = 0.01
TICK = 0.25


def events(rate: float, seconds: float, rng: random.Random) -> list[tuple[float, SpanEvent]]:
    """Give streams of about 60 chunks, each chunk event with a quarter of a second of chunks."""
    found: list[tuple[float, SpanEvent]] = []
    for place in range(round(rate * seconds)):
        start, key, out = rng.uniform(0, seconds), SpanId(f"r{place}"), rng.randint(20, 100)
        asked = Asked(stream=True)
        found.append(
            (start, SpanOpened(key, ns(start), "llm", "openai", Task.CHAT, asked=asked, body_bytes=900))
        )
        first = (start // STEP + 3) * STEP
        times = [first + i * STEP + rng.uniform(0, 0.001) for i in range(out)]
        for low in range(0, out, 25):
            part = times[low : low + 25]
            found.append((part[-1], SpanChunks(key, [ns(t) for t in part], [4] * len(part))))
        facts = TaskFacts(prompt_tokens=Fact(200), completion_tokens=Fact(out))
        found.append(
            (
                times[-1] + 0.002,
                SpanClosed(key, ns(times[-1] + 0.002), Outcome.OK, streamed=True, facts=facts),
            )
        )
    return sorted(found, key=lambda pair: pair[0])


def ns(t: float) -> Nanoseconds:
    return Nanoseconds(round(t * NANO))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rate", type=float, default=200)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--method", default="step-clock")
    parser.add_argument("--profile", action="store_true")
    args = parser.parse_args()
    gpu = DeviceId("gpu0")
    device = Device(gpu, 0, "bench", "fake", Tier.COUNTER)
    setup = {"llm": UpstreamSetup("llm", (gpu,))}
    settler = build(args.method, setup, [device], settle=ns(30), idle_power={})
    waiting = events(args.rate, args.seconds, random.Random(1))
    profile = cProfile.Profile()
    if args.profile:
        profile.enable()
    place, slowest, began = 0, 0.0, time.process_time()
    for tick in range(round(args.seconds / TICK)):
        now = (tick + 1) * TICK
        while place < len(waiting) and waiting[place][0] <= now:
            settler.event(waiting[place][1])
            place += 1
        for poll in range(2):
            t = now - TICK + poll * TICK / 2
            settler.sample(EnergySample(gpu, ns(t), counter=Microjoules(round(500e6 * t))))
        before = time.process_time()
        settler.advance(ns(now))
        slowest = max(slowest, time.process_time() - before)
    used = time.process_time() - began
    load = f"{args.rate:.0f} requests/s for {args.seconds:.0f} s by {args.method}"
    cost = f"{used:.2f} s CPU = {100 * used / args.seconds:.1f} % of a core"
    print(f"{load}: {cost}, slowest call {slowest * 1000:.0f} ms")
    if args.profile:
        profile.disable()
        pstats.Stats(profile).sort_stats("cumulative").print_stats(45)


if __name__ == "__main__":
    main()
