"""What becomes of a request: refused here, or carried to the upstream that the rules name."""

from collections.abc import Mapping
from functools import partial

from msgspec import Struct

from joulegate.config import UpstreamConfig
from joulegate.gateway.exchange.exchange import Exchange
from joulegate.gateway.gate_context import GateContext
from joulegate.gateway.http.body import SMALL, BodyTimeout, RequestBody
from joulegate.gateway.http.client_connection import ClientConnection
from joulegate.gateway.http.encodings import LARGEST_REQUEST, decoder, plain
from joulegate.gateway.http.framing import MalformedBody
from joulegate.gateway.http.headers import request_problem
from joulegate.gateway.http.heads import RequestHead
from joulegate.gateway.http.refusals import Refusal, response
from joulegate.gateway.jobs.job_reporter import JobReporter
from joulegate.gateway.jobs.job_tracker import origin
from joulegate.gateway.policy.route_rules import ruled
from joulegate.gateway.policy.routing import canonical, host_name, upstream_target
from joulegate.gateway.policy.task_rules import TaskMatch, open_rules
from joulegate.gateway.replica import Replica
from joulegate.gateway.spans.ids import SpanIds, client_request_id
from joulegate.gateway.spans.observation import GENERIC, Observation, choose
from joulegate.gateway.spans.request_span import Identity, RequestSpan
from joulegate.gateway.upstreams import Upstream, Upstreams
from joulegate.ports import USUAL_DIALECT, Headers, InferenceProtocol, Route
from joulegate.units import Nanoseconds

WAYS = 1024
"""Ways that are remembered."""
LONGEST_WAY = 1024
"""Characters of method, target and host that are worth it: clients choose them."""
_LATE = Refusal(408, "body_timeout", "the body did not arrive in time")
_BROKEN = Refusal(400, "malformed", "the framing of the body is broken")


class RoutingDecision(Struct, frozen=True):
    """What follows from method, target and host: the same for all requests that agree in these."""

    candidates: tuple[UpstreamConfig, ...]
    upstream: Upstream | None
    """``None``: the model decides, or no rule takes it."""
    needs_model: bool
    protocol: str
    route: Route
    plugin: InferenceProtocol | None
    """``None``: no protocol knows the route."""


class Dispatcher:
    """Handles the requests of one gate."""

    def __init__(
        self, context: GateContext, upstreams: Upstreams, protocols: Mapping[str, InferenceProtocol]
    ) -> None:
        self._context = context
        self._upstreams = upstreams
        self._protocols = protocols
        self._version = upstreams.version
        self._ids = SpanIds()
        self._ways: dict[tuple[str, str, bytes], RoutingDecision] = {}

    def handle(
        self, client: ClientConnection, head: RequestHead, arrived: Nanoseconds, body: bytes | RequestBody
    ) -> None:
        """Answer one request. Never raises."""
        try:
            if self._version != self._upstreams.version:
                self._version = self._upstreams.version
                self._ways.clear()
            if self._context.draining:
                refusal = Refusal(503, "draining", "this gate is going away: connect again")
                self._refuse(client, head, body, refusal)
            elif head.key not in self._ways and (problem := request_problem(head.method, head.target)):
                status = 405 if head.method == "CONNECT" else 400
                self._refuse(client, head, body, Refusal(status, "malformed", problem))
            elif isinstance(body, bytes):
                self._decide(client, head, arrived, body)
            else:
                self._await(client, head, arrived, body)
        except Exception:  # noqa: BLE001, RUF100 (a fault of ours costs one request, never the gate)
            self._broken(client, head, body)

    # --- the body that is here -------------------------------------------------------------------------

    def _decide(self, client: ClientConnection, head: RequestHead, arrived: Nanoseconds, body: bytes) -> None:
        """Choose the upstream of a request that is here whole."""
        observation, way = self._choose(head)
        if body:
            observation.request_body(body)
        self._send(client, head, arrived, body, observation, way)

    def _choose(self, head: RequestHead) -> tuple[Observation, RoutingDecision]:
        """Return who listens and where the request may go."""
        unfolding = decoder(head.fields, LARGEST_REQUEST) if head.encoded else None
        headers = plain(head.headers) if unfolding is not None else head.headers
        way = self._ways.get(head.key)
        if way is None or way.plugin is None:
            observation, way = self._ask(head, headers)
        else:
            try:
                observer = way.plugin.observer(way.route, headers)
                observation = Observation(observer, way.protocol, way.route, self._context.observer_failed)
            except Exception:  # noqa: BLE001, RUF100 (a plug-in may raise anything; the traffic goes on)
                del self._ways[head.key]
                observation, way = self._ask(head, headers)
        if unfolding is not None:
            observation.unfold(request=unfolding)
        return observation, way

    def _ask(self, head: RequestHead, headers: Headers) -> tuple[Observation, RoutingDecision]:
        """Ask the rules and each protocol, and remember their answer if it is one."""
        context, routes = self._context, self._upstreams.routes
        path = head.target.partition("?")[0]
        candidates = routes.candidates(path, _host(head))
        seen = canonical(upstream_target(candidates[0], path) if candidates else path)
        protocols = self._upstreams.protocols(candidates)
        rule = ruled(context.settings.rules, [target.name for target in candidates], head.method, seen)
        observation = choose(protocols, head.method, seen, headers, context.observer_failed, rule)
        needs_model = routes.needs_model(candidates)
        target = None if needs_model else routes.choose(candidates, None)
        upstream = None if target is None else self._upstreams.get(target.name)
        plugin = protocols.get(observation.protocol)
        way = RoutingDecision(
            candidates, upstream, needs_model, observation.protocol, observation.route, plugin
        )
        if plugin is not None and sum(map(len, head.key)) <= LONGEST_WAY:
            if len(self._ways) >= WAYS:
                self._ways.clear()
            self._ways[head.key] = way
        return observation, way

    def _send(
        self,
        client: ClientConnection,
        head: RequestHead,
        arrived: Nanoseconds,
        body: bytes | RequestBody,
        observation: Observation,
        way: RoutingDecision,
    ) -> None:
        """Send the request to the upstream that the decision or its model names."""
        context, upstream = self._context, way.upstream
        if upstream is None:
            asked = observation.asked().model if way.needs_model else None
            routes = self._upstreams.routes
            target = routes.choose(way.candidates, asked)
            upstream = None if target is None else self._upstreams.get(target.name)
            if upstream is None:
                explanation = routes.explain(head.target.partition("?")[0], _host(head), asked)
                refusal = Refusal(404, "no_upstream", explanation)
                self._refuse(client, head, body, refusal, observation.route.dialect)
                return
        replicas = upstream.replicas
        replica, key = (
            (replicas[0], None) if len(replicas) == 1 else self._replica(upstream, head, body, observation)
        )
        if not upstream.enter(replica):
            full = f"{upstream.name} works on {upstream.in_flight} requests, its bound (max_in_flight)"
            refusal = Refusal(503, "upstream_full", full)
            self._refuse(client, head, body, refusal, observation.route.dialect)
            return
        identity = self._identity(head, observation, upstream.target)
        ear = self._ear(identity, replica, head) if observation.learns_of_jobs else None
        span = RequestSpan(context.sink, identity, observation, ear)
        if len(replicas) > 1:
            span.replica = replica.name
        extra = (
            b"Joulegate-Request-Id: %b\r\n" % identity.id.encode()
            if context.settings.respond.request_id
            else b""
        )
        exchange = Exchange(context, client, head, body, upstream, replica, span, extra, key)
        try:
            exchange.start(arrived)
        except Exception:  # noqa: BLE001, RUF100 (a fault of ours costs one request, never the gate)
            exchange.broken()

    def _replica(
        self, upstream: Upstream, head: RequestHead, body: bytes | RequestBody, observation: Observation
    ) -> tuple[Replica, bytes | None]:
        """Return which of several gets a request, and what it has in common with others for the same one."""
        here = body if isinstance(body, bytes) else body.beginning
        key = upstream.affinity_key(head.fields, here)
        return upstream.choose(observation.asked().model, key) or upstream.replicas[0], key

    def _ear(self, identity: Identity, replica: Replica, head: RequestHead) -> JobReporter:
        """Return what hears of the jobs of a request."""
        name = identity.protocol
        come_by = origin(
            self._protocols.get(name), name, replica.target, head.target, head.headers, replica.pool
        )
        return JobReporter(self._context.jobs, identity, come_by)

    def _identity(self, head: RequestHead, observation: Observation, target: UpstreamConfig) -> Identity:
        settings, fields = self._context.settings, head.fields
        tenant = settings.tenants.identify(head.headers) if settings.tenants.digests else None
        rules = settings.tasks
        if rules:
            path = head.target.partition("?")[0]
            rules = open_rules(rules, TaskMatch(path, fields, tenant, target.name))
        shown = fields.get(b"x-request-id")
        return Identity(
            id=self._ids.fresh(self._context.wall()),
            upstream=target.name,
            protocol=observation.protocol,
            route=observation.route,
            task=target.task,
            tasks=rules,
            model=target.model,
            tenant=tenant,
            client_request_id=None if shown is None else client_request_id(shown),
        )

    # --- a body that is not here yet -------------------------------------------------------------------

    def _await(
        self, client: ClientConnection, head: RequestHead, arrived: Nanoseconds, body: RequestBody
    ) -> None:
        """Wait for a small body without a task; let a task deal with any other."""
        self._context.entered()
        if head.length is not None and head.length <= SMALL and not head.expects_go:
            body.collect(partial(self._collected, client, head, body))
        else:
            self._context.tasks.run(self._receive(client, head, arrived, body))

    def _collected(self, client: ClientConnection, head: RequestHead, body: RequestBody) -> None:
        try:
            if body.failure is not None:
                self._give_up(client, head, body, body.failure)
                return
            whole = body.whole()
            body.close()
            self._decide(client, head, self._context.clock(), whole)
        except Exception:  # noqa: BLE001, RUF100 (a fault of ours costs one request, never the gate)
            self._broken(client, head, body)
        finally:
            self._context.left()

    async def _receive(
        self, client: ClientConnection, head: RequestHead, arrived: Nanoseconds, body: RequestBody
    ) -> None:
        context = self._context
        try:
            observation, way = self._choose(head)
            before = context.clock()
            await self._read_ahead(head, body, observation, way)
            arrived = Nanoseconds(arrived + context.clock() - before)
            small = body.small
            self._send(client, head, arrived, body if small is None else small, observation, way)
        except (BodyTimeout, MalformedBody, ConnectionError) as failure:
            self._give_up(client, head, body, failure)
        except Exception:  # noqa: BLE001, RUF100 (a fault of ours costs one request, never the gate)
            self._broken(client, head, body)
        finally:
            context.left()

    async def _read_ahead(
        self, head: RequestHead, body: RequestBody, observation: Observation, way: RoutingDecision
    ) -> None:
        """Read a small body whole, and of a large one as much as the choice of upstream and replica needs."""
        heard = observation.request_body
        small = head.length is not None and head.length <= SMALL
        readable = head.chunked and observation.protocol != GENERIC and observation.route.reads_body
        replicas = way.upstream is not None and len(way.upstream.replicas) > 1
        if not (way.needs_model or small or readable or replicas):
            return
        await body.gather(heard=heard)
        if way.needs_model:
            await body.spool(lambda: observation.asked().model is not None, heard)

    def _give_up(
        self, client: ClientConnection, head: RequestHead, body: RequestBody, failure: Exception
    ) -> None:
        """End a request whose body will not come."""
        if isinstance(failure, BodyTimeout):
            self._refuse(client, head, body, _LATE)
        elif isinstance(failure, MalformedBody):
            self._refuse(client, head, body, _BROKEN)
        else:
            body.close()  # The client is gone.

    # --- not to the upstream ---------------------------------------------------------------------------

    def _refuse(
        self,
        client: ClientConnection,
        head: RequestHead,
        body: bytes | RequestBody,
        refusal: Refusal,
        dialect: str = USUAL_DIALECT,
    ) -> None:
        """Answer in the caller's dialect; a body that is not read to its end costs the connection."""
        self._context.refuse(refusal.code)
        ended = isinstance(body, bytes) or body.ended
        close = not head.keep_alive or self._context.draining or refusal.status in {400, 405, 408, 500}
        close = close or not ended
        client.send(response(refusal, dialect, method=head.method, close=close))
        if not isinstance(body, bytes):
            body.close()
        client.answered(keep_alive=not close)

    def _broken(self, client: ClientConnection, head: RequestHead, body: bytes | RequestBody) -> None:
        self._context.broken()
        self._refuse(client, head, body, Refusal(500, "gate_error", "an error in the gate"))


def _host(head: RequestHead) -> str:
    return host_name(head.fields.get(b"host", b"").decode("latin-1"))
