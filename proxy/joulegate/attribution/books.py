"""Settlement windows, and booking a rule's shares in whole microjoules."""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence

from msgspec import Struct

from joulegate.attribution.scene import Scene, Shares
from joulegate.attribution.shares import split
from joulegate.attribution.spans import Span
from joulegate.model import DeviceId, WindowBooks
from joulegate.units import MICRO, Microjoules, Nanoseconds

FOREIGN = "foreign"
CRASH = "crash"
METER = "meter"


class Window(Struct):
    """A stretch of time between two counter edges, with the energy of each device in it."""

    start: int
    end: int
    energy: dict[DeviceId, int]
    gaps: dict[DeviceId, int]
    inner: list[tuple[int, int]] = []
    """Counter edges within it: instant, and energy since its start of all devices."""
    final: bool = False
    blind: bool = False
    """Requests that had run in it were given up before its energy became known."""

    @property
    def known(self) -> bool:
        """Say whether the energy of at least one device is known somewhere in it."""
        return any(self.gaps.get(device, 0) < self.end - self.start for device in self.energy)

    @property
    def total(self) -> int:
        """Give the energy of all devices in microjoules."""
        return sum(self.energy.values())


class Claim(Struct):
    """One request's share of a window, as weights."""

    span: Span
    weight: float
    static: float
    """Of ``weight``: what the devices draw just for being awake."""
    alternatives: Sequence[float]
    """``weight`` by the fits that leave out a block each."""
    late: float
    """Part of the request's work in the window that came after its client had left."""


class Verdict(Struct):
    """The accounts of one window."""

    claims: list[Claim]
    idle: float
    foreign: float
    method: str


def verdicts(scene: Scene, shares: Shares) -> list[Verdict]:
    """Give the accounts of each window of a scene, claims in the order of arrival."""
    found = [
        Verdict([], float(idle), float(foreign), shares.method)
        for idle, foreign in zip(shares.idle, shares.unattributed, strict=True)
    ]
    for window, claim in _claims(scene, shares):
        found[window].claims.append(claim)
    for verdict in found:
        verdict.claims.sort(key=lambda claim: claim.span.place)
    return found


def _claims(scene: Scene, shares: Shares) -> Iterator[tuple[int, Claim]]:
    """Give each claim with the place of its window."""
    claims, bounds = shares.claims, scene.cells.bounds.tolist()
    weights = claims.value.tolist()
    static = weights if shares.static is None else shares.static.tolist()
    others = [()] * len(weights) if shares.alternatives is None else shares.alternatives.tolist()
    places = zip(claims.window.tolist(), claims.request.tolist(), strict=True)
    for (window, request), weight, still, other in zip(places, weights, static, others, strict=True):
        span = scene.spans[request]
        late = _late(span, bounds[window], bounds[window + 1])
        yield window, Claim(span, weight, 0.0 if shares.static is None else still, other, late)


def book(window: Window, verdict: Verdict) -> list[WindowBooks]:
    """Fix a window for ever: every device's energy is split in integers and booked on the requests."""
    window.final = True
    for claim in verdict.claims:
        claim.span.measured |= window.known
    return [_book_device(window, device, verdict) for device in window.energy]


def _book_device(window: Window, device: DeviceId, verdict: Verdict) -> WindowBooks:
    weights = [claim.weight for claim in verdict.claims]
    idle = verdict.idle if sum(weights) + verdict.idle + verdict.foreign > 0 else 1.0
    *parts, still, foreign = split(window.energy[device], [*weights, idle, verdict.foreign])
    other: Counter[str] = Counter({FOREIGN: foreign})
    requests = 0
    for claim, part in zip(verdict.claims, parts, strict=True):
        if claim.span.orphaned:
            other[CRASH] += part
        elif claim.span.done:  # its figure is out: what still comes must not change it
            other[METER] += part
        else:
            requests += part
            _charge(claim, device, part, verdict.method)
    if window.blind:
        other[METER], still = still, 0
    return WindowBooks(
        device=device,
        start=Nanoseconds(window.start),
        end=Nanoseconds(window.end),
        counter=Microjoules(window.energy[device]),
        requests=Microjoules(requests),
        idle=Microjoules(still),
        unattributed=tuple((reason, Microjoules(part)) for reason, part in sorted(other.items()) if part),
        gap=Nanoseconds(window.gaps.get(device, 0)),
    )


def _charge(claim: Claim, device: DeviceId, part: int, method: str) -> None:
    span, scale = claim.span, part / claim.weight if claim.weight > 0 else 0.0
    span.booked[device] += part
    span.static[device] += min(part, int(claim.static * scale))
    span.wasted += int(part * claim.late)
    span.methods[method] += part
    for place, alternative in enumerate(claim.alternatives):
        span.alternatives[place] += alternative * scale / MICRO


def preview(
    windows: Sequence[Window], verdicts: Sequence[Verdict], wanted: Collection[str]
) -> Mapping[str, tuple[float, list[float]]]:
    """Give, by wanted request, the energy in J of the windows not booked yet, and its alternatives."""
    found: dict[str, tuple[float, list[float]]] = {}
    for window, verdict in zip(windows, verdicts, strict=True):
        total = sum(claim.weight for claim in verdict.claims) + verdict.idle + verdict.foreign
        if window.final or total <= 0:
            continue
        scale = window.total / total / MICRO
        for claim in verdict.claims:
            if claim.span.id not in wanted:
                continue
            energy, others = found.get(claim.span.id, (0.0, [0.0] * len(claim.alternatives)))
            others = [old + new * scale for old, new in zip(others, claim.alternatives, strict=False)]
            found[claim.span.id] = energy + claim.weight * scale, others
    return found


def _late(span: Span, start: float, end: float) -> float:
    """Give the part of a request's time in a window that lies after its client left."""
    if span.left is None:
        return 0.0
    begin, finish = max(start, span.start), min(end, span.end if span.end is not None else end)
    if finish <= begin:
        return float(finish > span.left)
    return min(max((finish - max(begin, span.left)) / (finish - begin), 0.0), 1.0)
