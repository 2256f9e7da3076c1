"""Settling whole stories."""

import random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from joulegate.attribution import RULES, build
from joulegate.errors import ConfigError
from joulegate.meter.requests.open_requests import OpenRequests
from joulegate.model import (
    Asked,
    DeviceId,
    EnergySample,
    Fact,
    Method,
    Outcome,
    SourceFailure,
    SpanClosed,
    SpanId,
    SpanJob,
    SpanOpened,
    Task,
    TaskFacts,
    UpstreamSetup,
    WorkClass,
)
from joulegate.units import MICRO, NANO, Microjoules, Nanoseconds


def constant(
    make: Any, watts: float, seconds: float, index: int = 0, start: float = 0.0
) -> list[EnergySample]:
    return [
        make.reading(start + i / 10, 5000 + watts * i / 10, index) for i in range(round(seconds * 10) + 1)
    ]


def check(run: Any) -> None:
    """The books of every window balance, and the requests' figures add up to theirs."""
    for window in run.windows:
        assert window.error() == 0
        assert min(window.counter, window.requests, window.idle) >= 0
    charged = sum(figure.energy or 0 for figure in run.settled.values())
    assert charged == sum(window.requests for window in run.windows)


@pytest.mark.parametrize("method", sorted(RULES))
def test_one_request_pays_for_its_time_and_idle_for_the_rest(bench: Any, make: Any, method: str) -> None:
    """A lone request gets the energy of its service; before and after it the device is idle."""
    one = bench(method)
    one.feed(constant(make, 100, 10))
    one.feed([make.opened("a", 3.0, stream=True), make.chunks("a", [4.0, 5.0, 5.9])])
    one.feed([make.closed("a", 6.0, 100, 3)])
    for t in range(60):
        one.advance(t)
    run = one.drain(60)

    check(run)
    assert sum(window.counter for window in run.windows) == 1000 * MICRO
    energy = run.settled["a"].energy
    assert energy is not None
    assert 25 * MICRO < energy <= 310 * MICRO


def test_work_decides_among_the_concurrent(bench: Any, make: Any) -> None:
    """Of two requests side by side the one with three times the tokens pays about three times as much."""
    one = bench()
    one.feed(constant(make, 300, 20))
    for key, tokens in (("small", 100), ("large", 300)):
        one.feed([make.opened(key, 2.0, stream=True)])
        one.feed([make.chunks(key, [2.0 + (i + 1) * 10 / tokens for i in range(tokens)])])
        one.feed([make.closed(key, 12.01, 10, tokens)])
    run = one.drain(60)

    check(run)
    ratio = run.settled["large"].energy / run.settled["small"].energy
    assert 2.8 < ratio < 3.2


def test_a_queued_request_pays_nothing_for_waiting(bench: Any, make: Any) -> None:
    """Time before the service starts is free of energy."""
    one = bench(img=UpstreamSetup("image", (DeviceId("gpu0"),)))
    one.feed(constant(make, 400, 20))
    for key, start, end in (("first", 1.0, 6.0), ("second", 1.1, 11.0)):
        one.feed([make.opened(key, start, "img", width=1024, height=1024, steps=20), make.closed(key, end)])
    run = one.drain(60)

    check(run)
    assert abs(run.settled["first"].energy - run.settled["second"].energy) < 20 * MICRO


@pytest.mark.parametrize("work", [WorkClass.PROBE, WorkClass.ADMIN, WorkClass.REMOTE])
def test_who_does_no_work_pays_nothing(bench: Any, make: Any, work: WorkClass) -> None:
    """A health check is measured, and its energy is zero."""
    one = bench()
    one.feed(constant(make, 100, 10))
    one.feed(
        [SpanOpened(SpanId("p"), make.ns(2), "llm", "openai", Task.UNKNOWN, work=work), make.closed("p", 3)]
    )
    run = one.drain(60)

    check(run)
    assert run.settled["p"].energy == 0


def test_what_a_machine_elsewhere_did_pays_nothing(bench: Any, make: Any) -> None:
    """Where only the answer tells that it came from elsewhere, those who worked here pay for the time."""
    one = bench()
    one.feed(constant(make, 100, 10))
    one.feed([make.opened("here", 2.0), make.opened("cloud", 2.0)])
    one.feed([make.chunks(key, [2.2 + 0.2 * step for step in range(20)]) for key in ("here", "cloud")])
    elsewhere = TaskFacts(prompt_tokens=Fact(500), completion_tokens=Fact(20), work=WorkClass.REMOTE)
    one.feed([make.closed("here", 6.0), replace(make.closed("cloud", 6.0), facts=elsewhere)])
    run = one.drain(60)

    check(run)
    assert run.settled["cloud"].energy == 0
    assert run.settled["here"].energy > 0


def test_a_health_check_for_which_the_model_runs_pays(bench: Any, make: Any) -> None:
    """It is no user's energy, but it is energy."""
    one = bench()
    one.feed(constant(make, 100, 10))
    one.feed(
        [
            SpanOpened(SpanId("p"), make.ns(2), "llm", "sglang", Task.UNKNOWN, work=WorkClass.SELF_TEST),
            make.closed("p", 3),
        ]
    )
    run = one.drain(60)

    check(run)
    assert run.settled["p"].energy > 0


def test_a_refused_request_pays_nothing(bench: Any, make: Any) -> None:
    """An answer of 4xx before any work costs nothing."""
    one = bench()
    one.feed(constant(make, 100, 10))
    one.feed([make.opened("a", 2.0), make.closed("a", 3.0, outcome=Outcome.CLIENT_ERROR)])

    assert one.drain(60).settled["a"].energy == 0


def test_an_orphan_leaves_its_energy_to_nobody(bench: Any, make: Any) -> None:
    """If the gate died, what its request used is unattributed, with the reason."""
    one = bench()
    one.feed(constant(make, 100, 10))
    one.feed([make.opened("a", 2.0), make.closed("a", 6.0, outcome=Outcome.ORPHANED)])
    run = one.drain(60)

    check(run)
    assert run.settled["a"].energy is None
    assert run.settled["a"].method is Method.UNMEASURED
    assert sum(dict(window.unattributed).get("crash", 0) for window in run.windows) > 300 * MICRO


def test_outside_of_the_readings_nothing_is_known(bench: Any, make: Any) -> None:
    """A request that ended before the first reading has no figure: unknown is not zero."""
    one = bench()
    one.feed([make.opened("a", 1.0), make.closed("a", 2.0, 10, 10)])
    one.feed(constant(make, 100, 5, start=10.0))
    run = one.drain(60)

    assert run.settled["a"].energy is None


def test_within_a_gap_nothing_is_known(bench: Any, make: Any) -> None:
    """A request that lies wholly in the dark of a counter's restart has no figure."""
    one = bench()
    one.feed(constant(make, 100, 5))
    one.feed([make.reading(9.0 + i / 10, 3 + i) for i in range(50)])
    one.feed([make.opened("a", 6.0), make.closed("a", 7.0, 10, 10)])
    run = one.drain(60)

    check(run)
    assert run.settled["a"].energy is None
    assert sum(window.gap for window in run.windows) == 4 * NANO


def test_an_upstream_without_a_device_is_unmeasured(bench: Any, make: Any) -> None:
    """A request of a server on no known device has no figure."""
    one = bench(llm=UpstreamSetup("llm", ()))
    one.feed(constant(make, 100, 5))
    one.feed([make.opened("a", 2.0), make.closed("a", 3.0, 10, 10)])
    one.advance(20)

    assert one.run.settled["a"].method is Method.UNMEASURED


def test_an_upstream_that_is_found_later_is_measured(bench: Any, make: Any) -> None:
    """Requests wait a little for their server to be found on a device."""
    one = bench(llm=UpstreamSetup("llm", ()))
    one.feed(constant(make, 100, 5))
    one.feed([make.opened("a", 2.0), make.closed("a", 3.0, 10, 10)])
    one.settler.assign("llm", UpstreamSetup("llm", (DeviceId("gpu0"),)))
    run = one.drain(60)

    check(run)
    assert run.settled["a"].energy is not None


def test_an_upstream_on_two_devices_is_charged_on_both(bench: Any, make: Any) -> None:
    """Tensor parallel work pays on every device, each with books of its own."""
    one = bench(devices=2)
    one.feed(constant(make, 100, 10))
    one.feed(constant(make, 300, 10, index=1))
    one.feed([make.opened("a", 2.0), make.closed("a", 6.0, 100, 300)])
    run = one.drain(60)

    check(run)
    by_device = {part.device: part.energy for part in run.settled["a"].by_device}
    assert by_device["gpu1"] == pytest.approx(3 * by_device["gpu0"], rel=0.01)


def test_a_dead_device_does_not_hold_up_the_others(bench: Any, make: Any) -> None:
    """If one of two devices goes silent, the other one is settled all the same."""
    one = bench(devices=2)
    one.feed(constant(make, 100, 60))
    one.feed(constant(make, 300, 3, index=1))
    one.feed([make.opened("a", 2.0), make.closed("a", 6.0, 100, 300)])
    for t in range(60):
        one.advance(t)

    assert one.run.settled["a"].energy is not None


def test_a_lost_counter_is_settled_as_one_long_window(bench: Any, make: Any) -> None:
    """What a counter shows when it comes back is real and belongs to who ran meanwhile."""
    one = bench()
    one.feed(constant(make, 100, 5))
    for i in range(20):
        one.settler.sample(SourceFailure(DeviceId("gpu0"), make.ns(5 + i), "NVMLError_GpuIsLost"))
    one.feed([make.opened("a", 10.0), make.closed("a", 20.0, 100, 300)])
    one.feed(constant(make, 100, 5, start=30.0))
    run = one.drain(60)

    check(run)
    assert sum(window.gap for window in run.windows) > 0
    one = bench()
    one.feed([make.reading(0, 0), make.reading(1, 100), make.reading(40, 4000), make.reading(41, 4100)])
    one.feed([make.opened("a", 10.0), make.closed("a", 20.0, 100, 300)])
    run = one.drain(60)
    check(run)
    assert run.settled["a"].energy > 200 * MICRO


def test_a_request_is_given_up_when_the_counter_never_returns(bench: Any, make: Any) -> None:
    """A figure that cannot come is said to be unknown, after two minutes, and is not waited for."""
    one = bench()
    one.feed(constant(make, 100, 5))
    one.feed([make.opened("a", 10.0), make.closed("a", 20.0, 100, 300)])
    for t in range(0, 300, 5):
        one.advance(t)

    assert one.run.settled["a"].energy is None


def test_a_provisional_figure_comes_about_a_second_after_the_end(bench: Any, make: Any) -> None:
    """A long neighbour does not delay the first figure."""
    one = bench()
    one.feed([make.opened("a", 1.0), make.opened("b", 1.0)])
    for t in range(12):
        one.feed(constant(make, 100, 1, start=float(t)) if t == 0 else [])
        one.feed([make.reading(t + i / 10, 5000 + 100 * (t + i / 10)) for i in range(1, 11)])
        if t == 6:
            one.feed([make.closed("a", 6.0, 100, 300)])
        one.advance(t + 1)

    assert "a" not in one.run.settled
    assert one.run.provisional["a"].energy > 0
    assert one.run.provisional["a"].final is False


def test_energy_after_the_client_left_is_waste(bench: Any, make: Any) -> None:
    """What a server goes on to burn for a client that is gone is counted as such."""
    one = bench(img=UpstreamSetup("image", (DeviceId("gpu0"),)))
    one.feed(constant(make, 100, 20))
    one.feed([make.opened("a", 2.0, "img", width=512, height=512, steps=20)])
    one.feed([SpanClosed(SpanId("a"), make.ns(12), Outcome.CANCELLED, 499, client_left=make.ns(7))])
    figure = one.drain(60).settled["a"]

    assert figure.wasted == pytest.approx(figure.energy / 2, rel=0.1)


def test_a_counter_that_stands_still_still_settles(bench: Any, make: Any) -> None:
    """A device that draws nothing is no reason to wait: its requests cost nothing."""
    one = bench()
    one.feed([make.reading(i / 10, 7) for i in range(300)])
    one.feed([make.opened("a", 2.0), make.closed("a", 6.0, 100, 300)])
    for t in range(30):
        one.advance(t)

    assert one.run.settled["a"].energy == 0


def test_idle_power_is_learned_in_quiet_times(bench: Any, make: Any) -> None:
    """After some quiet windows the device's idle power is known."""
    one = bench()
    assert one.settler.health(DeviceId("gpu0")).idle_power is None
    one.feed(constant(make, 80, 10))
    for t in range(10):
        one.advance(t)

    assert one.settler.health(DeviceId("gpu0")).idle_power == pytest.approx(80 * MICRO, rel=0.01)


def test_a_method_that_is_not_there_is_named_with_the_choices(make: Any) -> None:
    """A typing error in the configuration says what could have been meant."""
    with pytest.raises(ConfigError, match="tokens"):
        build("token", {}, [make.device()], settle=Nanoseconds(0), idle_power={})


# --- the identity


@st.composite
def stories(draw: st.DrawFn) -> tuple[list[Any], int]:
    """Any mix of requests, readings, resets, failures and holes on a few devices, in any order."""
    devices = draw(st.integers(1, 3))
    inputs: list[Any] = []
    for index in range(devices):
        t, counter = draw(st.integers(0, 2000)), draw(st.integers(0, 10**9))
        for _ in range(draw(st.integers(0, 40))):
            t += draw(st.sampled_from([50, 100, 100, 400, 3000, 15000]))
            step = draw(st.sampled_from(["rise", "rise", "rise", "still", "reset", "fail"]))
            if step == "fail":
                inputs.append(SourceFailure(DeviceId(f"gpu{index}"), Nanoseconds(t * MICRO), "lost"))
                continue
            counter = draw(st.integers(0, 10**6)) if step == "reset" else counter
            counter += draw(st.integers(1, 10**9)) if step == "rise" else 0
            inputs.append(
                EnergySample(DeviceId(f"gpu{index}"), Nanoseconds(t * MICRO), counter=Microjoules(counter))
            )
    for place in range(draw(st.integers(0, 8))):
        inputs += draw(requests(f"r{place}"))
    order = draw(st.randoms(use_true_random=False))
    if draw(st.booleans()):
        inputs.sort(key=lambda one: (one.times or [0])[0] if hasattr(one, "times") else one.t)
    else:
        order.shuffle(inputs)
    return inputs, devices


@st.composite
def requests(draw: st.DrawFn, key: str) -> list[Any]:
    from joulegate.model import Fact, JobState, ServerTimings, SpanChunks, TaskFacts

    def number(top: int) -> int:
        return draw(st.integers(0, top))

    start = number(20_000)
    end = start + number(15_000)
    upstream = draw(st.sampled_from(["llm", "img", "any", "nowhere"]))
    asked = draw(
        st.sampled_from(
            [Asked(), Asked(stream=True), Asked(width=512, height=512, steps=4), Asked(max_tokens=5)]
        )
    )
    found: list[Any] = [
        SpanOpened(
            SpanId(key),
            Nanoseconds(start * MICRO),
            upstream,
            "x",
            Task.CHAT,
            asked=asked,
            body_bytes=number(10**6),
        )
    ]
    times = sorted(start + draw(st.integers(0, max(end - start, 1))) for _ in range(number(12)))
    if times:
        found.append(
            SpanChunks(SpanId(key), [Nanoseconds(t * MICRO) for t in times], [number(50) for _ in times])
        )
    if draw(st.booleans()):
        found.append(SpanJob(SpanId(key), Nanoseconds(start * MICRO), JobState.RUNNING))
    if draw(st.integers(0, 4)):
        count = st.none() | st.integers(-5, 10**18).map(Fact)
        took = st.none() | st.integers(-1, 10**11).map(Nanoseconds)
        found.append(
            SpanClosed(
                SpanId(key),
                Nanoseconds(end * MICRO),
                draw(st.sampled_from(list(Outcome))),
                facts=TaskFacts(prompt_tokens=draw(count), completion_tokens=draw(count), images=draw(count)),
                timings=ServerTimings(prefill=draw(took), decode=draw(took)),
                response_bytes=number(10**5),
                client_left=draw(st.none() | st.just(Nanoseconds((start + 1) * MICRO))),
            )
        )
    return [*found, *draw(st.lists(st.sampled_from(found), max_size=2))]


def counted(inputs: list[Any], device: str) -> int:
    """Give the rise of a counter over its epochs, as the settler sees it: in the order of arrival."""
    total, last = 0, None
    for one in inputs:
        if not isinstance(one, EnergySample) or one.device != device:
            continue
        if last is not None and one.t <= last.t:
            continue
        if last is not None and one.counter > last.counter:
            total += one.counter - last.counter
        last = one
    return total


@pytest.mark.parametrize("method", sorted(RULES))
@settings(max_examples=60, suppress_health_check=list(HealthCheck))
@given(story=stories(), ticks=st.lists(st.integers(0, 60_000), max_size=12))
def test_the_books_balance_whatever_happens(
    method: str, story: tuple[list[Any], int], ticks: list[int]
) -> None:
    """Counter = requests + idle + unattributed, per device and in integers, in any order of anything."""
    from joulegate.model import Device, Tier

    inputs, count = story
    devices = [Device(DeviceId(f"gpu{i}"), i, "test", "fake", Tier.COUNTER) for i in range(count)]
    first, last = devices[0].id, devices[-1].id
    upstreams = {
        "llm": UpstreamSetup("llm", (first,)),
        "img": UpstreamSetup("image", (last,), 2),
        "any": UpstreamSetup("auto", (first, last)),
    }
    settler = build(method, upstreams, devices, settle=Nanoseconds(3 * NANO), idle_power={})
    requests = OpenRequests(lambda _: False)
    windows, charged, seen = [], 0, set()
    place = 0
    for tick in [*sorted(ticks), 80_000, 140_000]:
        until = len(inputs) if tick == 80_000 else random.Random(tick).randint(place, len(inputs))
        for one in inputs[place:until]:
            if isinstance(one, EnergySample | SourceFailure):
                settler.sample(one)
            else:
                for event in requests.add("gate", one):
                    settler.event(event)
        place = until
        found = (
            settler.advance(Nanoseconds(tick * MICRO))
            if tick < 140_000
            else settler.drain(Nanoseconds(tick * MICRO))
        )
        windows += found[1]
        for figure in found[0]:
            if figure.final:
                requests.get(figure.id).settle(figure)
                assert figure.id not in seen
                seen.add(figure.id)
                charged += figure.energy or 0
                assert figure.energy is None or figure.energy == sum(part.energy for part in figure.by_device)

    for window in windows:
        assert window.error() == 0
        assert min([window.counter, window.requests, window.idle, *(p for _, p in window.unattributed)]) >= 0
    for device in devices:
        assert sum(w.counter for w in windows if w.device == device.id) == counted(inputs, device.id)
    opened = {one.id for one in inputs if isinstance(one, SpanOpened)}
    closed = {one.id for one in inputs if isinstance(one, SpanClosed)}
    assert seen == opened & closed
    if opened == closed:
        assert charged == sum(w.requests for w in windows)
