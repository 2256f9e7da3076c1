"""What becomes of a request: refused here, or carried to the upstream that the rules name."""

from aiohttp.http import HttpVersion10

from joulegate.gateway.attempt import Job, carry
from joulegate.gateway.body import BROKEN, SMALL, RequestBody
from joulegate.gateway.client import BodyTimeout, Incoming, Reply
from joulegate.gateway.desk import Desk
from joulegate.gateway.headers import request_problem
from joulegate.gateway.ids import client_request_id, span_id
from joulegate.gateway.observation import GENERIC, Chosen, choose
from joulegate.gateway.passage import Passage
from joulegate.gateway.relay import Exchange
from joulegate.gateway.responses import Refusal, response
from joulegate.gateway.routing import host_name, upstream_target
from joulegate.gateway.settings import Target
from joulegate.gateway.span import Identity, Span
from joulegate.gateway.tasks import Asks, open_rules
from joulegate.gateway.wish import Wish
from joulegate.units import Nanoseconds


class Dispatcher:
    """Handles the requests of one gate."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def handle(self, incoming: Incoming) -> Reply:
        """Answer one request. Never raises but for the cancellation that a client's leaving is."""
        self._desk.entered()
        try:
            return await self._handle(incoming)
        except BodyTimeout:
            return self._refuse(incoming, Refusal(408, "body_timeout", "the body did not arrive in time"))
        except BROKEN:
            return self._refuse(incoming, Refusal(400, "malformed", "the framing of the body is broken"))
        except ConnectionError:
            return Reply(keep_alive=False)
        except Exception:  # noqa: BLE001, RUF100 (a fault of ours costs one request, never the gate)
            self._desk.broken()
            return self._refuse(incoming, Refusal(500, "gate_error", "an error in the gate"))
        finally:
            self._desk.left()

    async def _handle(self, incoming: Incoming) -> Reply:
        arrived = self._desk.clock()
        message = incoming.message
        refusal = self._first_look(incoming)
        if refusal:
            return self._refuse(incoming, refusal)
        path = message.path.partition("?")[0]
        host = host_name(incoming.fields.get(b"host", b"").decode("latin-1"))
        candidates = self._desk.routes.candidates(path, host)
        seen = upstream_target(candidates[0], path) if candidates else path
        desk = self._desk
        protocols = desk.protocols(candidates)
        chosen = choose(protocols, message.method, seen, message.raw_headers, desk.observer_failed)
        body = RequestBody(incoming, desk.settings.timeouts.body, desk.clock, desk.watchdog)
        try:
            before = desk.clock()
            await self._read_ahead(body, chosen, candidates)
            waited = Nanoseconds(desk.clock() - before)
            asked = chosen.observation.asked().model if desk.routes.needs_model(candidates) else None
            target = desk.routes.choose(candidates, asked)
            if target is None:
                explanation = desk.routes.explain(path, host, asked)
                return self._refuse(incoming, Refusal(404, "no_upstream", explanation), chosen)
            return await self._admit(incoming, chosen, body, target, (arrived, waited))
        finally:
            body.close()

    def _first_look(self, incoming: Incoming) -> Refusal | None:
        message = incoming.message
        if self._desk.draining:
            return Refusal(503, "draining", "this gate is going away: connect again")
        problem = request_problem(message.method, message.path, message.raw_headers)
        if problem is None:
            return None
        return Refusal(405 if message.method == "CONNECT" else 400, "malformed", problem)

    async def _read_ahead(self, body: RequestBody, chosen: Chosen, candidates: tuple[Target, ...]) -> None:
        """Read a small body whole, and of a large one as much as the choice of the upstream needs."""
        heard = chosen.observation.request_body
        needs_model = self._desk.routes.needs_model(candidates)
        small = body.length is not None and body.length <= SMALL
        readable = body.chunked and chosen.protocol != GENERIC and chosen.route.reads_body
        if not (needs_model or small or readable):
            return
        await body.gather(heard=heard)
        if needs_model:
            await body.spool(lambda: chosen.observation.asked().model is not None, heard)

    async def _admit(
        self,
        incoming: Incoming,
        chosen: Chosen,
        body: RequestBody,
        target: Target,
        times: tuple[Nanoseconds, Nanoseconds],
    ) -> Reply:
        desk = self._desk
        if not desk.admission.enter(target):
            full = f"{target.name} works on {target.max_in_flight} requests, its bound (max_in_flight)"
            return self._refuse(incoming, Refusal(503, "upstream_full", full), chosen)
        identity = self._identity(incoming, chosen, target)
        wish = self._wish(incoming, body, target, identity)
        passage = Passage(
            incoming.client, wish, Span(desk.sink, identity, chosen.observation), chosen.observation
        )
        exchange = Exchange(
            incoming.client, wish, passage, desk.settings.timeouts, desk.clock, desk.ended(target)
        )
        message = incoming.message
        job = Job(
            method=message.method,
            raw_target=message.path,
            headers=message.raw_headers,
            fields=incoming.fields,
            upgrade=wish.upgrade,
            target=target,
            dialect=chosen.route.dialect,
            client=incoming.client,
            body=body,
            observation=chosen.observation,
            exchange=exchange,
            extra=wish.extra,
            arrived=times[0],
            waited=times[1],
        )
        return await self._carry(job)

    async def _carry(self, job: Job) -> Reply:
        client, exchange = job.client, job.exchange
        client.exchange = exchange
        self._desk.began(exchange)
        try:
            await carry(self._desk, job)
        except BaseException:
            # Cancelled because the client left (its connection has told the exchange already), or a
            # fault of the gate's own: in any case the span ends and the upstream stops.
            begun = exchange.begun
            exchange.client_left()
            if begun:
                client.abort()
            raise
        finally:
            client.exchange = None
        return Reply(keep_alive=exchange.keep_alive)

    def _identity(self, incoming: Incoming, chosen: Chosen, target: Target) -> Identity:
        desk, message = self._desk, incoming.message
        tenant = desk.settings.tenants.identify(message.raw_headers)
        rules = desk.settings.tasks
        if rules:
            path = message.path.partition("?")[0]
            rules = open_rules(rules, Asks(path, incoming.fields, tenant, target.name))
        return Identity(
            id=span_id(desk.wall()),
            upstream=target.name,
            protocol=chosen.protocol,
            route=chosen.route,
            task=target.task,
            tasks=rules,
            model=target.model,
            tenant=tenant,
            client_request_id=client_request_id(incoming.fields.get(b"x-request-id")),
        )

    def _wish(self, incoming: Incoming, body: RequestBody, target: Target, identity: Identity) -> Wish:
        message = incoming.message
        http10 = message.version <= HttpVersion10
        shown = self._desk.settings.request_id
        return Wish(
            method=message.method,
            http10=http10,
            keep_alive=not message.should_close and not http10,
            upgrade=_upgrades(incoming, body),
            finish=target.finish,
            extra=b"Joulegate-Request-Id: %b\r\n" % identity.id.encode() if shown else b"",
        )

    def _refuse(self, incoming: Incoming, refusal: Refusal, chosen: Chosen | None = None) -> Reply:
        """Answer in the caller's dialect; a body that is not read to its end costs the connection."""
        self._desk.admission.refuse(refusal.code)
        message = incoming.message
        close = message.should_close or self._desk.draining or refusal.status in {400, 405, 408, 500}
        close = close or not incoming.payload.is_eof() or message.version <= HttpVersion10
        dialect = chosen.route.dialect if chosen else "openai"
        incoming.client.send(response(refusal, dialect, method=message.method, close=close))
        return Reply(keep_alive=not close)


def _upgrades(incoming: Incoming, body: RequestBody) -> bool:
    """Say whether this request asks for a websocket; one with a body does not (CVE-2026-69243)."""
    message = incoming.message
    upgrade = incoming.fields.get(b"upgrade")
    return (
        bool(message.upgrade)
        and message.method == "GET"
        and upgrade is not None
        and upgrade.lower() == b"websocket"
        and message.version > HttpVersion10
        and body.complete
        and not body.small
    )
