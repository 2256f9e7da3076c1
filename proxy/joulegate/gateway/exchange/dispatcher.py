"""What becomes of a request: refused here, or carried to the upstream that the rules name."""

from functools import partial

from msgspec import Struct

from joulegate.gateway.exchange.answer_context import AnswerContext
from joulegate.gateway.exchange.attempt import Attempt
from joulegate.gateway.exchange.exchange import Exchange
from joulegate.gateway.exchange.ids import SpanIds, client_request_id
from joulegate.gateway.exchange.observation import GENERIC, ChosenProtocol, Observation, choose
from joulegate.gateway.exchange.request_span import Identity, RequestSpan
from joulegate.gateway.exchange.response_pipeline import ResponsePipeline
from joulegate.gateway.gate_context import GateContext
from joulegate.gateway.http.body import SMALL, BodyTimeout, RequestBody
from joulegate.gateway.http.encodings import decoder, is_encoded, plain
from joulegate.gateway.http.framing import MalformedBody
from joulegate.gateway.http.headers import request_problem
from joulegate.gateway.http.heads import RequestHead
from joulegate.gateway.http.incoming import Incoming
from joulegate.gateway.http.refusals import Refusal, response
from joulegate.gateway.policy.route_rules import ruled
from joulegate.gateway.policy.routing import canonical, host_name, upstream_target
from joulegate.gateway.policy.settings import Target
from joulegate.gateway.policy.task_rules import TaskMatch, open_rules
from joulegate.ports import Headers, InferenceProtocol, Route
from joulegate.units import Nanoseconds

WAYS = 1024
"""Ways that are remembered."""
LONGEST_WAY = 1024
"""Characters of method, target and host that are worth it: clients choose them."""
_LATE = Refusal(408, "body_timeout", "the body did not arrive in time")
_BROKEN = Refusal(400, "malformed", "the framing of the body is broken")


class RoutingDecision(Struct, frozen=True):
    """What follows from method, target and host: the same for all requests that agree in these."""

    candidates: tuple[Target, ...]
    target: Target | None
    """``None``: the model decides, or no rule takes it."""
    needs_model: bool
    protocol: str
    route: Route
    plugin: InferenceProtocol | None
    """``None``: no protocol knows the route."""


class Dispatcher:
    """Handles the requests of one gate."""

    def __init__(self, desk: GateContext) -> None:
        self._desk = desk
        self._ids = SpanIds()
        self._ways: dict[tuple[str, str, bytes], RoutingDecision] = {}
        desk.orders_changed = self._ways.clear

    def handle(self, incoming: Incoming) -> None:
        """Answer one request. Never raises."""
        try:
            refusal = self._first_look(incoming.head)
            if refusal is not None:
                self._refuse(incoming, refusal)
            elif incoming.small is not None:
                self._decide(incoming)
            elif incoming.body is not None:
                self._wait(incoming, incoming.body)
        except Exception:  # noqa: BLE001, RUF100 (a fault of ours costs one request, never the gate)
            self._broken(incoming)

    def _first_look(self, head: RequestHead) -> Refusal | None:
        if self._desk.draining:
            return Refusal(503, "draining", "this gate is going away: connect again")
        if head.key in self._ways:
            return None
        problem = request_problem(head.method, head.target)
        if problem is None:
            return None
        return Refusal(405 if head.method == "CONNECT" else 400, "malformed", problem)

    # --- the body that is here -------------------------------------------------------------------------

    def _decide(self, incoming: Incoming) -> None:
        """Choose the upstream of a request that is here whole."""
        chosen, way = self._choose(incoming.head)
        if incoming.small:
            chosen.observation.request_body(incoming.small)
        self._send(incoming, chosen, way)

    def _choose(self, head: RequestHead) -> tuple[ChosenProtocol, RoutingDecision]:
        """Return who listens and where the request may go."""
        if is_encoded(head.fields) and (unfolding := decoder(head.fields)):
            chosen, way = self._chosen(head, plain(head.headers))
            chosen.observation.unfold(request=unfolding)
            return chosen, way
        return self._chosen(head, head.headers)

    def _chosen(self, head: RequestHead, headers: Headers) -> tuple[ChosenProtocol, RoutingDecision]:
        way = self._ways.get(head.key)
        if way is None or way.plugin is None:
            return self._ask(head, headers)
        try:
            observer = way.plugin.observer(way.route, headers)
        except Exception:  # noqa: BLE001, RUF100 (a plug-in may raise anything; the traffic goes on)
            del self._ways[head.key]
            return self._ask(head, headers)
        observation = Observation(observer, way.protocol, self._desk.observer_failed)
        return ChosenProtocol(way.protocol, way.route, observation), way

    def _ask(self, head: RequestHead, headers: Headers) -> tuple[ChosenProtocol, RoutingDecision]:
        """Ask the rules and each protocol, and remember their answer if it is one."""
        desk = self._desk
        path = head.target.partition("?")[0]
        candidates = desk.routes.candidates(path, _host(head))
        seen = canonical(upstream_target(candidates[0], path) if candidates else path)
        protocols = desk.protocols(candidates)
        rule = ruled(desk.settings.rules, [target.name for target in candidates], head.method, seen)
        chosen = choose(protocols, head.method, seen, headers, desk.observer_failed, rule)
        needs_model = desk.routes.needs_model(candidates)
        target = None if needs_model else desk.routes.choose(candidates, None)
        plugin = protocols.get(chosen.protocol)
        way = RoutingDecision(candidates, target, needs_model, chosen.protocol, chosen.route, plugin)
        if plugin is not None and sum(map(len, head.key)) <= LONGEST_WAY:
            if len(self._ways) >= WAYS:
                self._ways.clear()
            self._ways[head.key] = way
        return chosen, way

    def _send(self, incoming: Incoming, chosen: ChosenProtocol, way: RoutingDecision) -> None:
        target = way.target
        if target is None:
            routes = self._desk.routes
            asked = chosen.observation.asked().model if way.needs_model else None
            target = routes.choose(way.candidates, asked)
            if target is None:
                path = incoming.head.target.partition("?")[0]
                explanation = routes.explain(path, _host(incoming.head), asked)
                self._refuse(incoming, Refusal(404, "no_upstream", explanation), chosen)
                return
        self._admit(incoming, chosen, target)

    # --- a body that is not here yet -------------------------------------------------------------------

    def _wait(self, incoming: Incoming, body: RequestBody) -> None:
        """Wait for a small body without a task; let an errand deal with any other."""
        head = incoming.head
        self._desk.entered()
        if head.length is not None and head.length <= SMALL and not head.expects_go:
            body.collect(partial(self._collected, incoming, body))
        else:
            self._desk.errands.run(self._receive(incoming, body))

    def _collected(self, incoming: Incoming, body: RequestBody) -> None:
        try:
            if body.failure is not None:
                self._give_up(incoming, body.failure)
                return
            incoming.arrived = self._desk.clock()
            incoming.small, incoming.body = body.whole(), None
            body.close()
            self._decide(incoming)
        except Exception:  # noqa: BLE001, RUF100 (a fault of ours costs one request, never the gate)
            self._broken(incoming)
        finally:
            self._desk.left()

    async def _receive(self, incoming: Incoming, body: RequestBody) -> None:
        desk = self._desk
        try:
            chosen, way = self._choose(incoming.head)
            before = desk.clock()
            await self._read_ahead(incoming.head, body, chosen, way)
            incoming.arrived = Nanoseconds(incoming.arrived + desk.clock() - before)
            incoming.small = body.small
            self._send(incoming, chosen, way)
        except (BodyTimeout, MalformedBody, ConnectionError) as failure:
            self._give_up(incoming, failure)
        except Exception:  # noqa: BLE001, RUF100 (a fault of ours costs one request, never the gate)
            self._broken(incoming)
        finally:
            desk.left()

    async def _read_ahead(
        self, head: RequestHead, body: RequestBody, chosen: ChosenProtocol, way: RoutingDecision
    ) -> None:
        """Read a small body whole, and of a large one as much as the choice of the upstream needs."""
        heard = chosen.observation.request_body
        small = head.length is not None and head.length <= SMALL
        readable = head.chunked and chosen.protocol != GENERIC and chosen.route.reads_body
        if not (way.needs_model or small or readable):
            return
        await body.gather(heard=heard)
        if way.needs_model:
            await body.spool(lambda: chosen.observation.asked().model is not None, heard)

    def _give_up(self, incoming: Incoming, failure: Exception) -> None:
        """End a request whose body will not come."""
        if isinstance(failure, BodyTimeout):
            self._refuse(incoming, _LATE)
        elif isinstance(failure, MalformedBody):
            self._refuse(incoming, _BROKEN)
        elif incoming.body is not None:
            incoming.body.close()  # The client is gone.

    # --- to the upstream -------------------------------------------------------------------------------

    def _admit(self, incoming: Incoming, chosen: ChosenProtocol, target: Target) -> None:
        desk = self._desk
        if not desk.admission.enter(target):
            full = f"{target.name} works on {target.max_in_flight} requests, its bound (max_in_flight)"
            self._refuse(incoming, Refusal(503, "upstream_full", full), chosen)
            return
        observation, identity = chosen.observation, self._identity(incoming, chosen, target)
        wish = self._wish(incoming.head, target, identity)
        ear = desk.ear(chosen, identity, target, incoming.head.target, incoming.head.headers)
        passage = ResponsePipeline(
            incoming.client, wish, RequestSpan(desk.sink, identity, observation, ear), observation
        )
        exchange = Exchange(incoming.client, wish, passage, desk.settings.timeouts, desk.clock)
        job = Attempt(desk, incoming, target, chosen.route, observation, exchange, wish.extra)
        try:
            job.begin()
        except Exception:  # noqa: BLE001, RUF100 (a fault of ours costs one request, never the gate)
            job.broken()

    def _identity(self, incoming: Incoming, chosen: ChosenProtocol, target: Target) -> Identity:
        desk, head = self._desk, incoming.head
        tenant = desk.settings.tenants.identify(head.headers)
        rules = desk.settings.tasks
        if rules:
            path = head.target.partition("?")[0]
            rules = open_rules(rules, TaskMatch(path, head.fields, tenant, target.name))
        return Identity(
            id=self._ids.fresh(desk.wall()),
            upstream=target.name,
            protocol=chosen.protocol,
            route=chosen.route,
            task=target.task,
            tasks=rules,
            model=target.model,
            tenant=tenant,
            client_request_id=client_request_id(head.fields.get(b"x-request-id")),
        )

    def _wish(self, head: RequestHead, target: Target, identity: Identity) -> AnswerContext:
        shown = self._desk.settings.request_id
        return AnswerContext(
            method=head.method,
            http10=head.http10,
            keep_alive=head.keep_alive,
            upgrade=head.upgrade,
            finish=target.finish,
            extra=b"Joulegate-Request-Id: %b\r\n" % identity.id.encode() if shown else b"",
        )

    # --- not to the upstream ---------------------------------------------------------------------------

    def _refuse(self, incoming: Incoming, refusal: Refusal, chosen: ChosenProtocol | None = None) -> None:
        """Answer in the caller's dialect; a body that is not read to its end costs the connection."""
        self._desk.admission.refuse(refusal.code)
        head = incoming.head
        close = not head.keep_alive or self._desk.draining or refusal.status in {400, 405, 408, 500}
        close = close or not incoming.ended
        dialect = chosen.route.dialect if chosen else "openai"
        incoming.client.send(response(refusal, dialect, method=head.method, close=close))
        if incoming.body is not None:
            incoming.body.close()
        incoming.client.answered(keep_alive=not close)

    def _broken(self, incoming: Incoming) -> None:
        self._desk.broken()
        self._refuse(incoming, Refusal(500, "gate_error", "an error in the gate"))


def _host(head: RequestHead) -> str:
    return host_name(head.fields.get(b"host", b"").decode("latin-1"))
