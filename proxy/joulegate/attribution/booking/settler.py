"""The settler: events and readings in, figures and books out."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from joulegate.attribution.booking.account import Account
from joulegate.attribution.booking.figures import final_figures
from joulegate.attribution.booking.group import Group
from joulegate.attribution.booking.idle import IdlePower
from joulegate.attribution.features.feature_builder import FeatureBuilder
from joulegate.attribution.input.foreign import ForeignLoad
from joulegate.attribution.input.request import RequestInput
from joulegate.attribution.input.timeline import Timeline
from joulegate.attribution.rules import Rule
from joulegate.model import (
    Device,
    DeviceId,
    DeviceLoad,
    EnergySample,
    Settled,
    SourceFailure,
    SpanClosed,
    SpanEvent,
    SpanId,
    SpanOpened,
    UpstreamSetup,
    WindowBooks,
)
from joulegate.ports import DeviceHealth
from joulegate.units import Microwatts, Nanoseconds, nanoseconds

UNMAPPED_WAIT = nanoseconds(5)
"""How long a request waits for its upstream to be found on a device."""


class Settler:
    """Implements ``ports.Attributor`` for the devices of one host."""

    def __init__(
        self,
        rule: Callable[[], Rule],
        upstreams: Mapping[str, UpstreamSetup],
        devices: Sequence[Device],
        *,
        settle: Nanoseconds,
        idle_power: Mapping[DeviceId, Microwatts],
    ) -> None:
        self._rule = rule
        self._upstreams = dict(upstreams)
        self._settle = settle
        self._given_idle = dict(idle_power)
        self._timelines = {device.id: Timeline(device) for device in devices}
        self._foreign = ForeignLoad()
        self._groups: list[Group] = []
        self._group_of: dict[str, Group] = {}
        self._origin: Nanoseconds | None = None
        self._now = Nanoseconds(0)
        self._opened = 0
        self._accounts: dict[SpanId, Account] = {}
        """Those without a final figure."""
        self._unmapped: list[Account] = []
        """Those whose upstream is not known to work on a device."""
        self._settled: list[Settled] = []
        self._books: list[WindowBooks] = []

    def sample(self, sample: EnergySample | SourceFailure) -> None:
        """Accept one reading, good or failed; of a device that is not known, nothing."""
        line = self._timelines.get(sample.device)
        if line is None:
            return
        self._start(sample.t)
        if isinstance(sample, SourceFailure):
            line.fail(sample)
        else:
            line.add(sample)

    def load(self, load: DeviceLoad) -> None:
        """Accept a report on the processes that use a device."""
        self._foreign.add(load)

    def event(self, event: SpanEvent) -> None:
        """Accept one span event: each comes once, and that of the beginning first."""
        if isinstance(event, SpanOpened):
            self._open(event)
        elif (account := self._accounts.get(event.id)) is not None:
            self._take(account.request, event)

    def advance(self, now: Nanoseconds) -> tuple[Sequence[Settled], Sequence[WindowBooks]]:
        """Settle what is due at ``now``."""
        self._start(now)
        self._now = max(self._now, now)
        for group in self._groups:
            group.advance(now)
        self._settle_unmapped(now, UNMAPPED_WAIT)
        return self._collect()

    def drain(self, now: Nanoseconds) -> tuple[Sequence[Settled], Sequence[WindowBooks]]:
        """Settle everything up to the last reading."""
        self._start(now)
        for group in self._groups:
            group.drain(now)
        self._settle_unmapped(now, Nanoseconds(0))
        return self._collect()

    def assign(self, upstream: str, setup: UpstreamSetup) -> None:
        """Learn where an upstream works; windows that are closed stay as they are."""
        if self._upstreams.get(upstream) == setup:
            return
        self._upstreams[upstream] = setup
        if self._groups:
            self._regroup()

    def health(self, device: DeviceId) -> DeviceHealth:
        """Return what was found out about a device's readings."""
        line = self._timelines[device]
        group = next((group for group in self._groups if line in group.timelines), None)
        idle = group.idle.known(device) if group is not None else self._given_idle.get(device)
        rejected = line.rejected + Counter(usage=group.builder.impossible_usage if group is not None else 0)
        return DeviceHealth(idle, line.resets, Nanoseconds(line.gap), tuple(sorted(rejected.items())))

    # --- requests

    def _open(self, event: SpanOpened) -> None:
        self._start(event.t)
        account = Account(RequestInput(event, self._origin or Nanoseconds(0), self._opened))
        self._opened += 1
        self._accounts[event.id] = account
        self._add(account)

    def _add(self, account: Account) -> None:
        group = self._group_of.get(account.request.opened.upstream)
        if group is None:
            self._unmapped.append(account)
        else:
            group.add(account)

    def _take(self, request: RequestInput, event: SpanEvent) -> None:
        request.take(event)
        ends = isinstance(event, SpanClosed)
        if ends and (group := self._group_of.get(request.opened.upstream)) is not None:
            group.builder.ended(request)

    def _settle_unmapped(self, now: Nanoseconds, wait: Nanoseconds) -> None:
        waiting: list[Account] = []
        for account in self._unmapped:
            closed = account.request.closed
            if closed is not None and now - closed.t >= wait:
                self._settled += final_figures([account], "unmeasured")
            else:
                waiting.append(account)
        self._unmapped = waiting

    # --- groups

    def _start(self, t: Nanoseconds) -> None:
        """Fix the origin of float time at the first input and build the groups."""
        if self._origin is None:
            self._origin = t
            self._regroup()

    def _regroup(self) -> None:
        """Put devices that share an upstream together; what was open in the old groups goes on in the new."""
        old, self._groups, self._group_of = self._groups, [], {}
        for devices in _joined(list(self._timelines), self._upstreams):
            self._groups.append(self._group(devices, old))
        moving, self._unmapped = self._unmapped, []
        for group in old:
            group.hand_over(self._now)
            settled, books = group.take()
            self._settled += settled
            self._books += books
            moving += group.unsettled.values()
        for account in sorted(moving, key=lambda account: account.request.place):
            self._add(account)

    def _group(self, devices: Sequence[DeviceId], old: Sequence[Group]) -> Group:
        upstreams = {
            name: setup
            for name, setup in self._upstreams.items()
            if any(one in devices for one in setup.devices)
        }
        rule = self._rule()
        lines = [self._timelines[device] for device in devices]
        builder = FeatureBuilder(
            self._origin or Nanoseconds(0), upstreams, queue_pays=rule.queue_pays, foreign=self._foreign
        )
        for group in old:
            known = {
                name: priors
                for name, priors in group.builder.priors.items()
                if name.rpartition("/")[0] in upstreams
            }
            builder.priors.update(known)
        idle = IdlePower([line.device for line in lines], self._idle_now(old))
        group = Group(lines, builder, rule, idle, self._settle)
        self._group_of.update(dict.fromkeys(upstreams, group))
        return group

    def _idle_now(self, old: Sequence[Group]) -> dict[DeviceId, Microwatts]:
        found = dict(self._given_idle)
        for group in old:
            for line in group.timelines:
                known = group.idle.known(line.device.id)
                if known is not None:
                    found[line.device.id] = known
        return found

    def _collect(self) -> tuple[list[Settled], list[WindowBooks]]:
        for group in self._groups:
            settled, books = group.take()
            self._settled += settled
            self._books += books
        settled, self._settled = self._settled, []
        books, self._books = self._books, []
        for figure in settled:
            if figure.final:
                self._accounts.pop(figure.id, None)
        return settled, books


def _joined(devices: Sequence[DeviceId], upstreams: Mapping[str, UpstreamSetup]) -> list[list[DeviceId]]:
    """Return the devices in groups: joined by common upstreams, in the order of the devices."""
    leader = {device: device for device in devices}

    def find(device: DeviceId) -> DeviceId:
        while leader[device] != device:
            device = leader[device]
        return device

    for setup in upstreams.values():
        known = [device for device in setup.devices if device in leader]
        for device in known[1:]:
            first, second = sorted((find(known[0]), find(device)), key=devices.index)
            leader[second] = first
    groups: dict[DeviceId, list[DeviceId]] = {}
    for device in devices:
        groups.setdefault(find(device), []).append(device)
    return list(groups.values())
