import math
import operator
from pathlib import Path
from random import Random

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from prometheus_client import CollectorRegistry

from joulegate.model import Component, DeviceId, Fact, Outcome, Task, TaskFacts, WindowBooks, WorkClass, alike
from joulegate.units import Microjoules, Nanoseconds
from joulegate_exporters.catalogue import FAMILIES, PREFIX, by_name
from joulegate_exporters.prometheus import Plugin

GOLDEN = Path(__file__).parent / "golden"


def series(scraped, name, **labels):
    """Sum of all series of a family that have these labels."""
    return math.fsum(
        value
        for (full, pairs), value in scraped.items()
        if full == PREFIX + name and labels.items() <= dict(pairs).items()
    )


@pytest.fixture
def busy(make_record, record, status):
    """An exporter after one record of each shape; figures of its own process would differ each time."""
    plugin = Plugin(process=CollectorRegistry())
    plugin.settled(record)
    plugin.settled(make_record(energy=7, task=Task.IMAGE_GENERATION, model="terrain", upstream="image"))
    plugin.settled(make_record(energy=None, outcome=Outcome.UPSTREAM_REFUSED))
    plugin.settled(make_record(energy=3_000_001, outcome=Outcome.UPSTREAM_TRUNCATED, tenant="team-a"))
    plugin.settled(make_record(energy=11, work=WorkClass.MODEL_LOAD, task=Task.UNKNOWN))
    plugin.booked(
        WindowBooks(status.devices[0].device.id, Nanoseconds(0), Nanoseconds(1), *[Microjoules(0)] * 3)
    )
    return plugin


@pytest.mark.parametrize(
    ("accept", "file"), [("text/plain", "scrape.txt"), ("application/openmetrics-text", "scrape.om")]
)
def test_golden_scrape(busy, status, accept, file, tmp_path):
    """The whole page of a fixed snapshot stays as it is, byte for byte."""
    page, _ = busy.render(busy.freeze(status), accept)
    (tmp_path / file).write_bytes(page)
    assert page == (GOLDEN / file).read_bytes(), f"if it is meant: cp {tmp_path / file} {GOLDEN / file}"


def test_every_family_is_filled(make_record, busy, status, scrape):
    """No family of the catalogue is one that nothing ever fills."""
    facts = TaskFacts(images=Fact(1), pixels=Fact(4096), steps=Fact(10))
    busy.settled(make_record(facts=facts))
    names = {name for name, _ in scrape(busy)}
    missing = [f.full_name for f in FAMILIES if not {f.full_name, f.full_name + "_count"} & names]
    assert missing == []


def test_the_page_tells_of_its_own_process(status, scrape):
    """CPU time, memory and garbage collections of the meter stand on the page in both formats."""
    scraped = scrape(Plugin(), status)
    assert scraped["process_resident_memory_bytes", ()] > 1e6
    assert scraped["process_cpu_seconds_total", ()] > 0
    assert ("python_gc_collections_total", (("generation", "0"),)) in scraped


def test_headline_is_the_same_energy(busy, scrape):
    """Kilowatt-hours times 3.6e6 are the joules of the same task and model."""
    scraped = scrape(busy)
    headlines = {pairs: kwh for (name, pairs), kwh in scraped.items() if name == PREFIX + "energy_kwh_total"}
    assert len(headlines) == 3
    for pairs, kwh in headlines.items():
        assert kwh * 3.6e6 == pytest.approx(series(scraped, "energy_joules_total", **dict(pairs)), rel=1e-12)


def test_kilograms_are_the_same_grams(busy, scrape):
    """Kilograms are the grams of the same task and model."""
    scraped = scrape(busy)
    assert series(scraped, "co2e_kilograms_total") * 1000 == pytest.approx(
        series(scraped, "co2e_grams_total"), rel=1e-12
    )


def test_measured_is_the_sum_of_the_accounts(busy, status, scrape):
    """Measured energy is requests plus idle plus unattributed, exactly, and reasons split the last."""
    scraped = scrape(busy)

    def microjoules(name, **labels):
        return sum(
            round(value * 1e6)
            for (full, pairs), value in scraped.items()
            if full == PREFIX + name and labels.items() <= dict(pairs).items()
        )

    assert microjoules("gpu_energy_joules_total") == status.devices[0].measured
    assert microjoules("gpu_energy_joules_total") == microjoules("gpu_attributed_joules_total")
    assert microjoules("gpu_unattributed_joules_total") == microjoules(
        "gpu_attributed_joules_total", bucket="unattributed"
    )
    assert series(scraped, "conservation_error_microjoules") == 0


def test_wrong_books_show(busy, status, device_status, scrape):
    """Books that do not balance are seen, by the meter's own finding, by the page's, and by window."""
    lost = msgspec.structs.replace(device_status, idle=device_status.idle - 5)
    found = msgspec.structs.replace(device_status, conservation_error=-3)
    for device, error in ((lost, 5), (found, -3)):
        scraped = scrape(busy, msgspec.structs.replace(status, devices=(device,)))
        assert series(scraped, "conservation_error_microjoules") == error
    busy.booked(WindowBooks(device_status.device.id, Nanoseconds(0), Nanoseconds(1), *[Microjoules(1)] * 3))
    assert series(scrape(busy), "unbalanced_windows_total") == 1


def test_unknown_energy_is_no_zero(make_record, scrape):
    """A request without a known energy counts as a request and has no energy series."""
    plugin = Plugin()
    plugin.settled(make_record(energy=None))
    scraped = scrape(plugin)
    names = {name for name, _ in scraped}
    assert not names & {PREFIX + "energy_joules_total", PREFIX + "energy_kwh_total"}
    assert series(scraped, "unmeasured_requests_total", task="chat") == 1
    assert series(scraped, "requests_total", task="chat") == 1


def test_other_work_is_no_task(busy, scrape):
    """Loading a model is metered and never enters the figures of an inference task."""
    scraped = scrape(busy)
    assert series(scraped, "energy_joules_total", task="model_load") == 11e-6
    assert series(scraped, "energy_joules_total", task="unknown") == 0


def test_energy_by_share(make_record, scrape):
    """Energy drawn just for being awake stands apart where it is known, and only there."""
    plugin = Plugin()
    plugin.settled(make_record(energy=10_000_000, static=4_000_000))
    plugin.settled(make_record(energy=5_000_000))
    scraped = scrape(plugin)
    shares = {s: series(scraped, "energy_joules_total", share=s) for s in ("active", "idle", "unsplit")}
    assert shares == {"active": 6.0, "idle": 4.0, "unsplit": 5.0}


def test_waste(busy, make_record, scrape):
    """Energy that nobody received is told by reason, none of it twice."""
    settled = msgspec.structs.replace(make_record().settled, wasted=Microjoules(500_000))
    busy.settled(make_record(settled=settled, outcome=Outcome.CANCELLED))
    busy.settled(make_record(settled=settled, outcome=Outcome.UPSTREAM_RESET))
    scraped = scrape(busy)
    assert series(scraped, "wasted_energy_joules_total", reason="client_left") == 1.0
    assert series(scraped, "wasted_energy_joules_total", reason="truncated") == 3.000001
    assert series(scraped, "wasted_energy_joules_total", reason="upstream_failed") == 42.0


def test_restart(busy, make_record, record, status, scrape):
    """Counters that open with the ledger's sums go on where they were."""
    records = [record, make_record(energy=9, tenant="team-a"), make_record(energy=None)]
    before, after = Plugin(), Plugin()
    for one in records:
        before.settled(one)
    after.restore([one.balance() for one in records])

    def totals(plugin):
        scraped = scrape(plugin).items()
        return {key: v for key, v in scraped if key[0].startswith(PREFIX) and key[0].endswith("_total")}

    assert totals(before) == totals(after)


@pytest.mark.parametrize(("idle_power", "shares"), [(75_000_000, {"active", "idle"}), (None, {"unsplit"})])
def test_series_begin_at_zero(make_record, status, device_status, scrape, idle_power, shares):
    """A balance of no request begins the series of a coming record, energy and emissions at zero."""
    device = msgspec.structs.replace(device_status, idle_power=idle_power)
    status = msgspec.structs.replace(status, devices=(device,))
    plugin = Plugin()
    plugin.freeze(status)
    plugin.restore([msgspec.structs.replace(make_record(energy=None).balance(), requests=0, emissions=())])
    scraped = scrape(plugin, status)
    labels = (("model", "gemma-3-270m"), ("task", "chat"))
    assert scraped[PREFIX + "energy_kwh_total", labels] == 0
    assert scraped[PREFIX + "co2e_kilograms_total", labels] == 0
    begun = [pairs for name, pairs in scraped if name == PREFIX + "energy_joules_total"]
    assert {dict(pairs)["share"] for pairs in begun} == shares


def test_series_of_two_components_begin_unsplit(make_record, status, device_status, scrape):
    """Energy of more than one component is never split, so that its series begin as they go on."""
    dram = msgspec.structs.replace(device_status.device, id=DeviceId("dram"), component=Component.DRAM)
    devices = (device_status, msgspec.structs.replace(device_status, device=dram))
    plugin = Plugin()
    plugin.freeze(msgspec.structs.replace(status, devices=devices))
    plugin.restore([msgspec.structs.replace(make_record(energy=None).balance(), requests=0)])
    begun = [dict(pairs) for name, pairs in scrape(plugin) if name == PREFIX + "energy_joules_total"]
    assert {(labels["component"], labels["share"]) for labels in begun} == {
        ("gpu", "unsplit"),
        ("dram", "unsplit"),
    }


def test_nothing_begins_where_nothing_is_measured(make_record, status, scrape):
    """Without a device and a carbon zone there is no energy and no mass, not even zero."""
    blind = msgspec.structs.replace(status, devices=(), carbon=None)
    plugin = Plugin()
    plugin.freeze(blind)
    plugin.restore([msgspec.structs.replace(make_record(energy=None).balance(), requests=0, emissions=())])
    names = {name for name, _ in scrape(plugin, blind)}
    assert not names & {PREFIX + "energy_joules_total", PREFIX + "co2e_grams_total"}


def test_frozen_stays(busy, record, status):
    """What was frozen does not change with later records."""
    frozen = busy.freeze(status)
    before = busy.render(frozen, "")
    busy.settled(record)
    assert busy.render(frozen, "") == before


def test_no_room_for_names_of_clients(make_record, scrape):
    """A model that servers only ever refused takes no place; one that answered keeps its own."""
    plugin = Plugin()
    for n in range(500):
        plugin.settled(make_record(energy=1, model=f"made-up-{n}", outcome=Outcome.CLIENT_ERROR))
    plugin.settled(make_record(energy=2, model="real"))
    plugin.settled(make_record(energy=4, model="real", outcome=Outcome.CLIENT_ERROR))
    scraped = scrape(plugin)
    assert series(scraped, "energy_joules_total", model="real") == 6e-6
    assert series(scraped, "energy_joules_total", model="other") == 500e-6
    assert series(scraped, "label_overflow_total") == 0


def test_many_models(make_record, scrape):
    """Beyond the bound models are counted as ``other``: the number of series stays, no joule is lost."""
    plugin = Plugin()
    for n in range(1000):
        plugin.settled(make_record(energy=1_000_000, model=f"model-{n}", tenant=f"tenant-{n}"))
    scraped = scrape(plugin)
    models = {dict(pairs)["model"] for name, pairs in scraped if name == PREFIX + "energy_kwh_total"}
    assert len(models) == by_name()["energy_kwh_total"].labels[1].bound == 64
    assert series(scraped, "energy_joules_total") == 1000
    assert series(scraped, "tenant_energy_joules_total") == 1000
    assert series(scraped, "label_overflow_total", label="model") == 1000 - 63
    assert series(scraped, "label_overflow_total", label="tenant") == 1000 - 127


def test_what_the_ends_of_the_channel_do_not_know_of_each_other(busy, status, scrape):
    """Both ends count; the sums over gates never fall, and the worst clock of all gates is shown."""
    gate = status.gates[0]
    for ignored in (3, 1):
        now = msgspec.structs.replace(gate, ignored_parts=ignored)
        text = scrape(busy, msgspec.structs.replace(status, gates=(now,)))
    assert series(text, "channel_ignored_parts_total", end="gate") == 4
    assert series(text, "channel_ignored_parts_total", end="meter") == 4
    assert series(text, "channel_refused_connections_total", reason="version") == 2
    assert series(text, "channel_refused_connections_total", reason="garbage") == 0
    assert series(text, "channel_clock_error_seconds") == 0.00025


def test_gates_that_restart(busy, status, scrape):
    """Sums over gates never fall when a gate restarts or goes."""
    gate = status.gates[0]
    counts = []
    for dropped in (5, 7, 2):
        now = msgspec.structs.replace(gate, dropped_events=dropped)
        counts.append(
            series(
                scrape(busy, msgspec.structs.replace(status, gates=(now,))), "channel_dropped_events_total"
            )
        )
    counts.append(
        series(scrape(busy, msgspec.structs.replace(status, gates=())), "channel_dropped_events_total")
    )
    assert counts == [5, 7, 9, 9]


def test_devices_of_the_same_index(busy, status, device_status, scrape):
    """Two devices that would have the same label are told apart by their identity."""
    twin = msgspec.structs.replace(device_status.device, id=DeviceId("GPU-twin"))
    cpu = msgspec.structs.replace(device_status.device, id=DeviceId("package-0"), component=Component.CPU)
    devices = tuple(
        msgspec.structs.replace(device_status, device=d) for d in (device_status.device, twin, cpu)
    )
    scraped = scrape(busy, msgspec.structs.replace(status, devices=devices))
    gpus = {dict(pairs)["gpu"] for name, pairs in scraped if name == PREFIX + "gpu_up"}
    assert gpus == {device_status.device.id, "GPU-twin", "cpu0"}


HOSTILE = st.one_of(
    st.text(st.characters(exclude_categories=()), max_size=40),
    st.sampled_from(
        ["\ud800", "\x00", "\u202eevil", '"} 1\n# HELP x y', "a\\", "\u2028", "x" * 1_000_000, "", " "]
    ),
)


@settings(max_examples=100)
@given(model=HOSTILE, upstream=HOSTILE, tenant=HOSTILE, name=HOSTILE)
def test_hostile_names(make_record, status, scrape, model, upstream, tenant, name):
    """Whatever a label is made from, both official parsers read the page and no joule is lost."""
    device = status.devices[0]
    evil = msgspec.structs.replace(
        device,
        device=msgspec.structs.replace(device.device, name=name, source=name, id=DeviceId(name)),
        errors=((name, 1), (name + "\x00", 2)),
        rejected=((name, 1),),
    )
    plugin = Plugin()
    plugin.settled(make_record(model=model, upstream=upstream, tenant=tenant))
    scraped = scrape(plugin, msgspec.structs.replace(status, devices=(evil,), version=name, boundary=name))
    assert series(scraped, "energy_joules_total") == 42.5
    assert series(scraped, "nvml_errors_total") == 3
    assert all(len(value) <= 128 and value.isprintable() for _, pairs in scraped for _, value in pairs)


AMOUNTS = st.one_of(st.integers(-(10**6), 10**12), st.sampled_from([0, -1, 2**63, 10**400]))


class Life(RuleBasedStateMachine):
    """An exporter through any life: records, balances and gates come as they like."""

    def __init__(self, make_record, status, scrape):
        super().__init__()
        self.make_record, self.status, self.scrape = make_record, status, scrape
        self.plugin = Plugin()
        self.before = {}
        self.charged = 0

    @rule(
        energy=st.one_of(st.none(), st.integers(0, 10**15)),
        outcome=st.sampled_from(Outcome),
        model=st.integers(0, 100).map(str),
        tokens=AMOUNTS,
    )
    def record(self, energy, outcome, model, tokens):
        facts = TaskFacts(completion_tokens=Fact(tokens), pixels=Fact(tokens), steps=Fact(tokens))
        self.plugin.settled(self.make_record(energy, outcome=outcome, model=model, facts=facts))
        self.charged += energy or 0

    @rule(requests=st.integers(-5, 2**63), energy=st.integers(0, 10**15))
    def restored(self, requests, energy):
        balance = msgspec.structs.replace(self.make_record(energy).balance(), requests=requests)
        self.plugin.restore([balance])
        self.charged += energy

    @rule(dropped=st.integers(0, 10))
    def gate_restarts(self, dropped):
        gate = msgspec.structs.replace(self.status.gates[0], dropped_events=dropped)
        self.status = msgspec.structs.replace(self.status, gates=(gate,))

    @invariant()
    def sums_never_fall(self):
        self.before = assert_risen(self.before, self.plugin.freeze(self.status))
        assert sum(self.plugin.freeze(self.status).counters["energy_joules_total"].values()) == self.charged

    def teardown(self):
        scraped = self.scrape(self.plugin, self.status)
        assert all(math.isfinite(value) for value in scraped.values())


def assert_risen(before, frozen):
    """Check that no sum fell, and give the sums for the next time."""
    now = frozen.counters | frozen.histograms
    for name, sums in before.items():
        for labels, value in sums.items():
            later = now[name][labels]
            assert later >= value if isinstance(value, int) else all(map(operator.ge, later, value))
    return now


def test_counters_never_fall(make_record, status, scrape):
    """In any life of an exporter no sum falls, none is lost, and every value is finite."""
    bounds = settings(max_examples=20, stateful_step_count=50)
    run_state_machine_as_test(lambda: Life(make_record, status, scrape), settings=bounds)


@pytest.mark.parametrize("steps", [100_000, pytest.param(1_000_000, marks=pytest.mark.nightly)])
def test_long_life(make_record, status, steps):
    """In a long life of one exporter no sum falls and the energy is the energy charged."""
    plugin, random, before, charged = Plugin(), Random(7), {}, 0
    records = [
        make_record(
            random.choice([None, 0, random.randrange(10**9)]),
            model=str(random.randrange(200)),
            outcome=random.choice(list(Outcome)),
            duration=Nanoseconds(random.randrange(10**12)),
        )
        for _ in range(2_000)
    ]
    for step in range(steps):
        record = random.choice(records)
        plugin.settled(record)
        charged += record.settled.energy or 0
        if step % 500 == 0:
            before = assert_risen(before, plugin.freeze(status))
    assert sum(plugin.freeze(status).counters["energy_joules_total"].values()) == charged


def test_a_name_that_a_server_refused_comes_after_those_that_it_knows(make_record):
    """Whatever came first: of records that are taken together, a refused one may have a known name."""
    plugin = Plugin()
    refused = make_record(model="m", outcome=Outcome.CLIENT_ERROR)
    plugin.settled_together(alike([refused, make_record(model="m")]))
    assert {labels[1] for labels in plugin._tally.counters["requests_total"]} == {"m"}


def test_a_page_of_a_busy_node_stays_small(make_record, status):
    """Thousands of records of sixty models and more tenants than are shown make a page of bounded size."""
    plugin = Plugin()
    records = [
        make_record(model=f"model-{n % 60}", tenant=f"tenant-{n % 120}", upstream=f"up-{n % 20}", task=task)
        for n in range(1200)
        for task in list(Task)[:4]
    ]
    plugin.settled_together(alike(records))
    page, _ = plugin.render(plugin.freeze(status), "")
    plugin.settled_together(alike(records))
    again, _ = plugin.render(plugin.freeze(status), "")
    assert len(page.splitlines()) == len(again.splitlines())
    assert len(again) < 2 << 20


def test_render_refuses_what_is_not_frozen():
    """Something else than a frozen state is a mistake of the caller and says so."""
    with pytest.raises(TypeError, match="takes what freeze gave"):
        Plugin().render(object(), "")
