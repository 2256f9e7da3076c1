"""The upstreams of a gate: each is one object that holds all that belongs to it, with its replicas.

A replica is one server; the replicas of an upstream are servers that may take each other's place. Which of
them gets a request is decided here, and so is when one gets none for a while.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

from joulegate.config import UpstreamConfig
from joulegate.config.addresses import Endpoint
from joulegate.gateway.gate_context import GateContext
from joulegate.gateway.policy.routing import Routes
from joulegate.gateway.policy.usage_refusals import UsageRefusals
from joulegate.gateway.replica import USUAL_PACE, Pace, Replica
from joulegate.gateway.servers.recognition import MOST_MODELS
from joulegate.gateway.spans.observation import preferring
from joulegate.log import logger
from joulegate.model import Outcome, ReplicaReport, UpstreamReport
from joulegate.ports import InferenceProtocol
from joulegate.units import NANO, Nanoseconds

SPARE_REQUESTS = 4
"""A preferred replica may have twice as many requests as the least busy one and so many more."""
PREFIX_BYTES = 1024
"""So much of a prompt's beginning says which replica may have it in its cache."""
_LOG_INTERVAL = Nanoseconds(NANO)
"""Shortest time between two log lines about one upstream's failed requests."""
_EJECTING = {Outcome.UPSTREAM_RESET, Outcome.UPSTREAM_TIMEOUT}
_PROMPT = re.compile(rb'"(?:messages|prompt|input|inputs|contents)"\s*:')


class Upstream:
    """One configured upstream: its settings, its replicas, and what is known of it."""

    def __init__(
        self,
        target: UpstreamConfig,
        context: GateContext,
        protocols: Mapping[str, InferenceProtocol],
        changed: Callable[[], None],
        pace: Pace = USUAL_PACE,
    ) -> None:
        self.target = target
        self.name = target.name
        self.kind = target.kind
        """What it is, as far as that is known."""
        self.protocols = preferring(protocols, target.kind)
        """In the order in which they are asked for its requests."""
        self.in_flight = 0
        self.usage_refusals = UsageRefusals(context.clock)
        self._all_protocols = protocols
        self._changed = changed
        self._context = context
        self._pace = pace
        self._attended = False
        self._turn = 0
        self._logged: Nanoseconds | None = None
        self._log = logger("gateway")
        self.replicas = tuple(self._replica(endpoint) for endpoint in target.endpoints)

    def _replica(self, endpoint: Endpoint) -> Replica:
        return Replica(
            self.target,
            endpoint,
            self._context,
            self._pace,
            learned=self.learned,
            recovered=self.usage_refusals.forget,
        )

    # --- requests --------------------------------------------------------------------------------------

    def enter(self, replica: Replica) -> bool:
        """Count one more request to a replica; or return that the upstream has as many as it may."""
        if 0 < self.target.max_in_flight <= self.in_flight:
            return False
        self.in_flight += 1
        replica.in_flight += 1
        return True

    def leave(self, replica: Replica) -> None:
        """Count it no longer."""
        self.in_flight -= 1
        replica.in_flight -= 1

    def affinity_key(self, fields: Mapping[bytes, bytes], body: bytes) -> bytes | None:
        """Return what requests have in common that are to go to the same replica, if this one has it.

        ``body`` is as much of the request's body as is here.
        """
        affinity = self.target.affinity
        if affinity is None or len(self.replicas) == 1:
            return None
        if affinity != "prompt":
            return fields.get(affinity.removeprefix("header:").lower().encode())
        found = _PROMPT.search(body)
        return None if found is None else body[found.end() : found.end() + PREFIX_BYTES]

    def choose(
        self, model: str | None = None, key: bytes | None = None, tried: Collection[Replica] = ()
    ) -> Replica | None:
        """Return the replica for a request: the least busy one that is there and serves the model.

        Requests with the same ``key`` go to the same one while it is not far busier than the others. If none
        is there, it is the one whose time out ends first: one is always tried. ``None``: there is none beside
        those that were ``tried`` already.
        """
        replicas = self.replicas
        if len(replicas) == 1:
            return None if tried else replicas[0]
        now = self._context.clock()
        fitting = [one for one in self._serving(model or self.target.model) if one not in tried]
        there = [one for one in fitting if one.available(now)]
        if not there:
            return None if tried else min(fitting, key=lambda one: one.out_until)
        chosen = self._preferred(there, key)
        if chosen.failures:
            chosen.eject(now)  # This request alone finds out whether it answers again.
        return chosen

    def _preferred(self, there: Sequence[Replica], key: bytes | None) -> Replica:
        least = min(one.in_flight for one in there)
        if key is not None:
            free = [one for one in there if one.in_flight <= 2 * least + SPARE_REQUESTS]
            return max(free, key=lambda one: _score(key, one.name))
        free = [one for one in there if one.in_flight == least]
        self._turn += 1
        return free[self._turn % len(free)]

    def _serving(self, model: str | None) -> Sequence[Replica]:
        """Return the replicas for a model.

        If one lists it, those that list it or list nothing; else all but those that serve others.
        """
        if model is not None and any(model in one.models for one in self.replicas):
            return [one for one in self.replicas if not one.models or model in one.models]
        return [one for one in self.replicas if not one.note] or self.replicas

    def failed(self, replica: Replica, outcome: Outcome, detail: str) -> None:
        """Record that a request was not answered; logged at most once a second, a loss by the replica."""
        if outcome is Outcome.UPSTREAM_REFUSED:
            return
        now = self._context.clock()
        if outcome in _EJECTING and replica.up is not False:
            replica.failed(now)
        if self._logged is None or now - self._logged >= _LOG_INTERVAL:
            self._logged = now
            self._log.warning("request.failed", upstream=self.name, outcome=outcome.value, reason=detail)

    def usage_refused(self, route: str) -> None:
        """Remember that it cannot be asked for usage on this route."""
        if self.usage_refusals.refused(route):
            self._log.warning("usage.refused", upstream=self.name, route=route)

    # --- what it is ------------------------------------------------------------------------------------

    def attend(self) -> None:
        """Begin to look at its replicas."""
        self._attended = True
        for replica in self.replicas:
            replica.attend()

    def learned(self) -> None:
        """Take in what is newly known of a replica: what kind of server they are, and whether one is odd."""
        kind = next((one.kind for one in self.replicas if one.identity.kind), self.target.kind)
        if kind != self.kind:
            self.kind = kind
            self.protocols = preferring(self._all_protocols, kind)
            self._changed()
        self._compare()

    def _compare(self) -> None:
        """Note which replicas serve other models than their siblings or than the configured ones."""
        expected = self._expected()
        for one in self.replicas:
            odd = bool(expected and one.models) and not expected.intersection(one.models)
            note = ""
            if odd:
                note = f"serves {_listed(one.models)} in place of {_listed(sorted(expected))}"
            if note and note != one.note:
                self._log.warning("replica.other_model", upstream=self.name, replica=one.name, reason=note)
            one.note = note

    def _expected(self) -> set[str]:
        """Return the configured models, if a replica lists one; else those that most replicas list."""
        if len(self.replicas) == 1:
            return set()
        configured = {*self.target.models, *([self.target.model] if self.target.model else [])}
        lists = [one.models for one in self.replicas if one.models]
        if any(configured.intersection(models) for models in lists):
            return configured
        most = Counter(lists).most_common(1)
        return set(most[0][0]) if most else set()

    def report(self) -> UpstreamReport:
        """Return what is known now."""
        known = next((one for one in self.replicas if one.identity.kind), self.replicas[0])
        models = dict.fromkeys(model for one in self.replicas for model in one.identity.models)
        return UpstreamReport(
            self.name,
            up=_any(one.up for one in self.replicas),
            kind=self.kind,
            version=known.identity.version,
            models=tuple(models)[:MOST_MODELS],
            keeps_working=_any(one.keeps_working for one in self.replicas),
            replicas=tuple(
                ReplicaReport(one.name, one.up, one.identity.version, one.identity.models, one.note)
                for one in self.replicas
            ),
        )

    # --- reload ------------------------------------------------------------------------------------------

    def update(self, target: UpstreamConfig) -> None:
        """Go by other settings.

        Replicas that stay keep their connections; those that go get no new request and finish their work.
        """
        before, self.target = self.target, target
        kept = {one.endpoint: one for one in self.replicas} if before.ca_file == target.ca_file else {}
        gone = set(self.replicas)
        self.replicas = tuple(kept.get(endpoint) or self._replica(endpoint) for endpoint in target.endpoints)
        for replica in gone.difference(self.replicas):
            replica.close()
        connect = self._context.settings.timeouts.connect
        for replica in self.replicas:
            replica.configure(target, connect)
        if self._attended:
            self.attend()
        self.learned()

    def close(self) -> None:
        """Keep no connection; requests under way finish."""
        for replica in self.replicas:
            replica.close()


class Upstreams:
    """The upstreams of a gate by name, and the rules by which requests find them."""

    def __init__(
        self,
        targets: Iterable[UpstreamConfig],
        context: GateContext,
        protocols: Mapping[str, InferenceProtocol],
        pace: Pace = USUAL_PACE,
    ) -> None:
        self._context = context
        self._protocols = protocols
        self._pace = pace
        self._attended = False
        self._by_name: dict[str, Upstream] = {}
        self.routes = Routes(())
        self.version = 0
        """Rises whenever a request may have to go another way than the one like it before."""
        self.replace(tuple(targets))

    def get(self, name: str) -> Upstream | None:
        """Return the upstream of this name, if there is one."""
        return self._by_name.get(name)

    def __iter__(self) -> Iterator[Upstream]:
        """Iterate over the configured upstreams."""
        return iter(self._by_name.values())

    def replace(self, targets: Sequence[UpstreamConfig]) -> None:
        """Go by these settings from now on.

        An upstream that is still there stays the same object, with the connections of the replicas that stay.
        One that is not gets no new request; what it works on finishes.
        """
        before, self._by_name = self._by_name, {}
        for target in targets:
            upstream = before.pop(target.name, None)
            if upstream is None:
                upstream = Upstream(target, self._context, self._protocols, self._changed, self._pace)
                if self._attended:
                    upstream.attend()
            elif upstream.target != target:
                upstream.update(target)
            self._by_name[target.name] = upstream
        for upstream in before.values():
            upstream.close()
        self.routes = Routes(targets)
        self._changed()

    def _changed(self) -> None:
        self.version += 1

    def attend(self) -> None:
        """Begin to look at all of them: what they are, and whether they are there."""
        self._attended = True
        for upstream in self._by_name.values():
            upstream.attend()

    def close(self) -> None:
        """Keep no connection; requests under way finish."""
        for upstream in self._by_name.values():
            upstream.close()

    def protocols(self, candidates: Sequence[UpstreamConfig]) -> Mapping[str, InferenceProtocol]:
        """Return the protocols in the order in which these upstreams, if of one kind, want them asked."""
        found = [self._by_name[target.name] for target in candidates]
        return found[0].protocols if len({one.kind for one in found}) == 1 else self._protocols

    def in_flight(self) -> tuple[tuple[str, int], ...]:
        """Return the requests in flight by upstream."""
        return tuple(sorted((one.name, one.in_flight) for one in self._by_name.values()))

    def replicas_in_flight(self) -> tuple[tuple[str, str, int], ...]:
        """Return the requests in flight by upstream and replica."""
        return tuple(
            (one.name, replica.name, replica.in_flight)
            for one in self._by_name.values()
            for replica in one.replicas
        )

    def reports(self) -> tuple[UpstreamReport, ...]:
        """Return what is known of them."""
        return tuple(one.report() for one in self._by_name.values())


def _any(answers: Iterable[bool | None]) -> bool | None:
    """Whether one says yes; ``None`` if none says anything."""
    known = [answer for answer in answers if answer is not None]
    return any(known) if known else None


def _score(key: bytes, replica: str) -> bytes:
    """Return how much a replica is preferred for a key: one more replica takes its share, the rest stays."""
    return hashlib.blake2b(key, digest_size=8, key=replica.encode()[:64]).digest()


def _listed(models: Iterable[str]) -> str:
    shown = list(models)
    return ", ".join(shown[:3]) + (" …" if len(shown) > 3 else "")
