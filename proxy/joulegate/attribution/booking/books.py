"""Settlement windows, and booking a rule's shares in whole microjoules."""

import itertools
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence, Set

import numpy as np
from msgspec import Struct

from joulegate.attribution.booking.account import Account
from joulegate.attribution.features.cells import ratio, sums
from joulegate.attribution.features.window_features import Shares, WindowFeatures
from joulegate.attribution.input.rows import ORPHANED, Table, marked, table
from joulegate.attribution.input.windows import Window
from joulegate.attribution.maths.arrays import Bools, Floats, Ints
from joulegate.attribution.maths.shares import split
from joulegate.model import DeviceId, WindowBooks
from joulegate.units import MICRO, Microjoules, Nanoseconds

FOREIGN = "foreign"
CRASH = "crash"
METER = "meter"


class Allocation(Struct, frozen=True):
    """How consecutive windows are shared: claims as parallel arrays, by window and then by arrival."""

    accounts: Sequence[Account]
    rows: Table
    """The requests of the accounts."""
    window: Ints
    """Place of each claim's window."""
    request: Ints
    """Place of each claim's request in ``accounts``."""
    weight: Floats
    static: Floats | None
    """Of ``weight``: what the devices draw just for being awake."""
    alternatives: Floats | None
    """``weight`` by the fits that leave out a block each, a column a fit."""
    late: Floats
    """Part of the request's work in the window that came after its client had left."""
    idle: Floats
    foreign: Floats
    method: str

    def total(self) -> Floats:
        """Return the sum of all weights of each window."""
        return sums(self.window, self.weight, len(self.idle)) + self.idle + self.foreign


def allocate(features: WindowFeatures, shares: Shares, accounts: Sequence[Account]) -> Allocation:
    """Return how a rule's shares fall to the accounts of the requests of these windows."""
    rows = table(features.requests)
    claims = shares.claims
    order = np.lexsort((rows["place"][claims.request], claims.window))
    window, request = claims.window[order], claims.request[order]
    return Allocation(
        accounts=accounts,
        rows=rows,
        window=window,
        request=request,
        weight=claims.value[order],
        static=None if shares.static is None or not features.devices.idle_known else shares.static[order],
        alternatives=None if shares.alternatives is None else shares.alternatives[order],
        late=_late(rows[request], features.cells.bounds[window], features.cells.bounds[window + 1]),
        idle=shares.idle,
        foreign=shares.unattributed,
        method=shares.method,
    )


def describe(features: WindowFeatures, shares: Shares, accounts: Sequence[Account]) -> None:
    """Record with each account what was found of its request."""
    first = 0
    for track in features.tracks.values():
        some = accounts[first : first + len(track.requests)]
        found = zip(some, track.service.tolist(), track.guessed.tolist(), strict=True)
        for account, service, guessed in found:
            account.describe(
                service=service,
                guessed_prompt=guessed,
                hidden_cache=track.hidden_cache,
                misfit=shares.misfit,
            )
        first += len(some)


def book(
    windows: Sequence[Window], allocation: Allocation, chosen: Collection[int], unsettled: Set[int]
) -> list[WindowBooks]:
    """Fix the chosen windows for ever: every device's energy is split in integers and booked on the requests.

    ``chosen`` are places in ``windows``, ``unsettled`` those of the requests without a final figure.
    """
    low = np.searchsorted(allocation.window, np.arange(len(windows) + 1)).tolist()
    orphaned = marked(allocation.rows, ORPHANED)
    done = np.array([one.request.place not in unsettled for one in allocation.accounts], dtype=bool)
    found, charges = [], defaultdict(list)
    for place in sorted(chosen):
        window, claims = windows[place], slice(low[place], low[place + 1])
        _measure(allocation, claims, known=window.known)
        for device, energy in window.energy.items():
            request = allocation.request[claims]
            parts, still, foreign = _split(allocation, place, claims, energy)
            crash = int(parts[orphaned[request]].sum())
            # a figure that is out must not change: what still comes belongs to no request
            late = int(parts[done[request] & ~orphaned[request]].sum())
            other = {FOREIGN: foreign, CRASH: crash, METER: late}
            if window.blind:
                other[METER], still = other[METER] + still, 0
            requests = int(parts.sum()) - crash - late
            found.append(_window_books(window, device, requests, still, other))
            charges[device].append((claims, parts))
    for device, some in charges.items():
        _charge(allocation, device, some, ~(orphaned | done))
    return found


def _split(allocation: Allocation, place: int, claims: slice, energy: int) -> tuple[Ints, int, int]:
    """Return the parts of the claims, idle and unattributed."""
    weights = allocation.weight[claims]
    idle, foreign = float(allocation.idle[place]), float(allocation.foreign[place])
    idle = idle if float(weights.sum()) + idle + foreign > 0 else 1.0
    parts = split(energy, np.concatenate([weights, [idle, foreign]]))
    return parts[:-2], int(parts[-2]), int(parts[-1])


def _window_books(
    window: Window, device: DeviceId, requests: int, idle: int, other: Mapping[str, int]
) -> WindowBooks:
    return WindowBooks(
        device=device,
        start=Nanoseconds(window.start),
        end=Nanoseconds(window.end),
        counter=Microjoules(window.energy[device]),
        requests=Microjoules(requests),
        idle=Microjoules(idle),
        unattributed=tuple((reason, Microjoules(part)) for reason, part in sorted(other.items()) if part),
        gap=Nanoseconds(window.gaps.get(device, 0)),
    )


def _measure(allocation: Allocation, claims: slice, *, known: bool) -> None:
    for request in allocation.request[claims].tolist() if known else ():
        allocation.accounts[request].measure()


def _charge(
    allocation: Allocation,
    device: DeviceId,
    parts: Sequence[tuple[slice, Ints]],
    open_: Bools,
) -> None:
    """Book one device's parts of many windows, summed by request."""
    claims = np.concatenate([np.arange(one.start, one.stop) for one, _ in parts])
    part = np.concatenate([values for _, values in parts])
    kept = open_[allocation.request[claims]]
    claims, part = claims[kept], part[kept]
    order = np.argsort(allocation.request[claims], kind="stable")
    claims, part = claims[order], part[order]
    if not len(claims):
        return
    request = allocation.request[claims]
    bounds = np.concatenate([[0], np.flatnonzero(np.diff(request)) + 1])
    scale = ratio(part.astype(np.float64), allocation.weight[claims])
    wasted = (part * allocation.late[claims]).astype(np.int64)
    columns = (np.add.reduceat(values, bounds).tolist() for values in (part, wasted))
    statics: Iterable[int | None] = itertools.repeat(None)
    if allocation.static is not None:
        still = np.minimum(part, (allocation.static[claims] * scale).astype(np.int64))
        statics = np.add.reduceat(still, bounds).tolist()
    others: Iterable[Floats | None] = itertools.repeat(None)
    if allocation.alternatives is not None:
        others = np.add.reduceat(allocation.alternatives[claims] * (scale / MICRO)[:, None], bounds)
    found = zip(request[bounds].tolist(), *columns, statics, others, strict=False)
    for place, energy, waste, static, other in found:
        allocation.accounts[place].charge(device, energy, static, waste, allocation.method, other)


def preview(
    windows: Sequence[Window], allocation: Allocation, booked: Set[int]
) -> tuple[Floats, Floats | None]:
    """Return, by account, the energy in J of the windows not booked yet, and its alternatives.

    ``booked`` are the starts of the windows that are booked.
    """
    total = allocation.total()
    energy = np.array([0 if window.start in booked else window.total for window in windows]) / MICRO
    scale = ratio(energy, total)[allocation.window]
    count = len(allocation.accounts)
    ahead = sums(allocation.request, allocation.weight * scale, count)
    if allocation.alternatives is None:
        return ahead, None
    columns = [sums(allocation.request, column * scale, count) for column in allocation.alternatives.T]
    return ahead, np.stack(columns, axis=1)


def _late(rows: Table, start: Floats, end: Floats) -> Floats:
    """Return the part of each request's time in a window that lies after its client left."""
    left = rows["left"]
    late = np.zeros(len(rows))
    gone = np.flatnonzero(np.isfinite(left))
    if not len(gone):
        return late
    rows, left = rows[gone], left[gone]
    begin, finish = np.maximum(start[gone], rows["start"]), np.minimum(end[gone], rows["end"])
    length = finish - begin
    part = (finish - np.maximum(begin, left)) / np.where(length > 0, length, 1.0)
    late[gone] = np.where(length > 0, np.clip(part, 0.0, 1.0), finish > left)
    return late
