"""The meter's own address: metrics, health and the admin API. It only reads.

``GET`` only, no CORS, bodies of requests are refused. Nothing here is ever served where clients come.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Protocol

import msgspec
from aiohttp import web

from joulegate import clock
from joulegate.errors import ConfigError, LedgerUnavailable
from joulegate.ledger.reader import LedgerReader
from joulegate.ledger.rows import BooksTotal
from joulegate.meter.admin.pages import Pages
from joulegate.meter.admin.record_route import RecordRoute
from joulegate.meter.admin.runbook import page
from joulegate.meter.admin.views import books_views, instant, request_view
from joulegate.meter.recording.recorder import Recorder
from joulegate.model import MeterStatus, ReportRow, RequestRecord
from joulegate.ports import Exporter
from joulegate.report.study import report
from joulegate.units import NANO, Nanoseconds

LONGEST_ID = 512
DEFAULT_SINCE = "24 h"

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Metering(Protocol):
    """What the admin API asks of the meter."""

    def status(self) -> MeterStatus:
        """Return everything at this instant."""
        ...

    def find(self, id_: str) -> RequestRecord | None:
        """Return a request; may block on the disk."""
        ...

    def books(self) -> tuple[BooksTotal, ...]:
        """Return the books of every device."""
        ...


class Admin:
    """The handlers."""

    def __init__(self, meter: Metering, reader: LedgerReader, pages: Pages | None) -> None:
        self._meter = meter
        self._reader = reader
        self._pages = pages

    async def metrics(self, request: web.Request) -> web.Response:
        """Return the page of the exporter."""
        if self._pages is None:
            return _problem(404, 'no exporter with a page is configured: exporters = ["prometheus"]')
        body, content_type = await self._pages.page(request.headers.get("Accept", ""))
        return web.Response(body=body, headers={"Content-Type": content_type})

    async def healthz(self, request: web.Request) -> web.Response:  # noqa: ARG002
        """Return that the process lives."""
        return web.Response(text="ok\n")

    async def readyz(self, request: web.Request) -> web.Response:  # noqa: ARG002
        """Whether it meters. Figures that are missing or modelled do not take it out of service."""
        status = self._meter.status()
        if not status.ready:
            return web.Response(status=503, text="not ready: starting or draining\n")
        return web.Response(text=f"degraded: {status.degraded}\n" if status.degraded else "ok\n")

    async def status(self, request: web.Request) -> web.Response:  # noqa: ARG002
        """Return the status in the units of the inside: microjoules, microwatts, nanoseconds, micrograms."""
        return _json(self._meter.status())

    async def books(self, request: web.Request) -> web.Response:  # noqa: ARG002
        """Return the books of every device."""
        return _json(books_views(self._meter.books()))

    async def request(self, request: web.Request) -> web.Response:
        """Return one request by our id, its client's ``X-Request-Id`` or the server's id of the job."""
        id_ = request.match_info["id"]
        record = None
        if len(id_) <= LONGEST_ID and id_.isprintable():
            record = await asyncio.to_thread(self._meter.find, id_)
        if record is None:
            return _problem(
                404,
                "no request with this id: it is under way, never came here, or is too old",
                id=id_[:LONGEST_ID],
            )
        return _json(request_view(record, self._meter.status().boundary))

    async def runbook(self, request: web.Request) -> web.Response:  # noqa: ARG002
        """Return the page that alerts link to."""
        return web.Response(text=page(), content_type="text/html")

    async def report(self, request: web.Request) -> web.Response:
        """Return the study's table of a time: ``?since=24 h&until=…&by=task,model``."""
        wall = clock.wall()
        since = instant(request.query.get("since", DEFAULT_SINCE), wall)
        until = (
            instant(request.query["until"], wall) if "until" in request.query else Nanoseconds(wall + NANO)
        )
        by = [word for word in request.query.get("by", "task,model").split(",") if word]
        rows = await asyncio.to_thread(self._rows, since, until, by)
        return _json(report(rows, self._meter.status(), since=since, until=until))

    def _rows(self, since: Nanoseconds, until: Nanoseconds, by: Sequence[str]) -> list[ReportRow]:
        return self._reader.report(since, until, by)


def application(
    meter: Metering, reader: LedgerReader, exporter: Exporter | None, recorder: Recorder | None = None
) -> web.Application:
    """Return the application for the admin address; ``exporter`` is the one behind ``/metrics``."""
    pages = Pages(exporter, meter.status) if exporter else None
    admin = Admin(meter, reader, pages)
    app = web.Application(middlewares=[_guard], client_max_size=1024)
    app.router.add_get("/metrics", admin.metrics)
    app.router.add_get("/healthz", admin.healthz)
    app.router.add_get("/readyz", admin.readyz)
    app.router.add_get("/runbook", admin.runbook)
    app.router.add_get("/v1/status", admin.status)
    app.router.add_get("/v1/books", admin.books)
    app.router.add_get("/v1/report", admin.report)
    app.router.add_get("/v1/requests/{id}", admin.request)
    if recorder:
        route = RecordRoute(recorder)
        app.router.add_get("/v1/record", route.record)
        app.router.add_get("/v1/record/{name}/end", route.end)

    async def close(app: web.Application) -> None:  # noqa: ARG001
        if pages:
            pages.close()

    app.on_cleanup.append(close)
    return app


@web.middleware
async def _guard(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Refuse bodies, and answer every problem as JSON."""
    if request.body_exists:
        return _problem(413, "requests to the admin address have no body")
    try:
        return await handler(request)
    except ConfigError as problem:
        return _problem(400, str(problem))
    except LedgerUnavailable as problem:
        return _problem(503, str(problem))
    except web.HTTPException as problem:
        return _problem(problem.status, problem.reason, headers=problem.headers)


def _json(body: object) -> web.Response:
    return web.Response(body=msgspec.json.encode(body), content_type="application/json")


def _problem(
    status: int, message: str, *, headers: Mapping[str, str] | None = None, **more: str
) -> web.Response:
    allow = {"Allow": headers["Allow"]} if headers and "Allow" in headers else None
    body = msgspec.json.encode({"error": message, **more})
    return web.Response(status=status, body=body, content_type="application/json", headers=allow)
