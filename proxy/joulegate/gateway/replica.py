"""One server of an upstream: its connections, whether it is there, what it is, and how busy.

It is looked at when the gate starts, until it is ready; after each loss, until it is back; and now and then
while no traffic tells, so that a dead server that nobody calls shows as one.
"""

import asyncio
from collections.abc import Awaitable, Callable

from msgspec import Struct

from joulegate.config import UpstreamConfig
from joulegate.config.addresses import Endpoint
from joulegate.errors import UpstreamError
from joulegate.gateway.gate_context import GateContext
from joulegate.gateway.http.pool import Pool
from joulegate.gateway.servers.disconnect_monitor import DisconnectMonitor
from joulegate.gateway.servers.recognition import MOST_MODELS
from joulegate.gateway.servers.survey import look
from joulegate.log import logger
from joulegate.ports.servers import ServerIdentity
from joulegate.units import NANO, Nanoseconds

FIRST_LOOK, LAST_LOOK = 1.0, 30.0
"""Seconds until a server that was not there, or was still loading, is asked again: doubled each time."""
IDLE_LOOK = 10.0
"""Seconds without traffic after which a server is asked whether it is still there."""
FIRST_EJECTION, LAST_EJECTION = Nanoseconds(NANO), Nanoseconds(30 * NANO)
"""How long a replica that failed gets no request: doubled each time."""


class Pace(Struct, frozen=True):
    """How often servers are looked at."""

    idle_look: float = IDLE_LOOK
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    """Waits for some seconds before a server that was not there is asked again."""


USUAL_PACE = Pace()


class Replica:
    """One server. ``learned`` is called when it was looked at, ``recovered`` when it is back."""

    def __init__(
        self,
        target: UpstreamConfig,
        endpoint: Endpoint,
        context: GateContext,
        pace: Pace,
        *,
        learned: Callable[[], None],
        recovered: Callable[[], None],
    ) -> None:
        self.target = target
        """The settings of its upstream."""
        self.endpoint = endpoint
        self.onward_key = onward_key(target, endpoint)
        """Requests with the same head and the same key are sent with the same bytes."""
        self.name = endpoint.address()
        self.pool = Pool(endpoint, context.clock, context.settings.timeouts.connect, target.ca_file)
        self.in_flight = 0
        self.up: bool | None = None
        """It was there when it was last asked for anything; ``None``: not asked yet."""
        self.identity = ServerIdentity()
        self.keeps_working: bool | None = None
        self.failures = 0
        """Since it last answered a request."""
        self.note = ""
        """Why it gets fewer requests than its siblings."""
        self.disconnects = DisconnectMonitor(
            self.pool,
            context.tasks,
            context.clock,
            lambda: self.in_flight,
            self._worked_on,
            alone=context.settings.gates == 1,
        )
        self._learned, self._recovered = learned, recovered
        self._context = context
        self._pace = pace
        self.out_until = Nanoseconds(0)
        """When it gets a request again after a failure."""
        self._look_again = asyncio.Event()
        self._watching: asyncio.Task[None] | None = None
        self._log = logger("gateway")
        context.watchdog.add(self.pool)

    @property
    def kind(self) -> str:
        """What it is, as far as that is known."""
        return self.identity.kind or self.target.kind

    @property
    def models(self) -> tuple[str, ...]:
        """The models that it lists; none if it lists more than are read."""
        models = self.identity.models
        return models if len(models) < MOST_MODELS else ()

    # --- whether it is there ---------------------------------------------------------------------------

    def available(self, now: Nanoseconds) -> bool:
        """Whether nothing speaks against sending it a request."""
        return now >= self.out_until

    def eject(self, now: Nanoseconds) -> None:
        """Send it nothing for a while, longer after each failure in a row."""
        wait = min(FIRST_EJECTION << min(max(self.failures - 1, 0), 16), LAST_EJECTION)
        self.out_until = Nanoseconds(now + wait)

    def failed(self, now: Nanoseconds) -> None:
        """Record that it failed a request that had not been answered."""
        self.failures += 1
        self.eject(now)

    def answered(self) -> None:
        """Record that it answers requests."""
        self.failures, self.out_until = 0, Nanoseconds(0)

    def reached(self) -> None:
        """Record that a connection was opened."""
        lost, self.up = self.up is False, True
        if lost:
            self.answered()
            self._log.info("upstream.recovered", **self._named())
            self._recovered()

    def unreached(self, reason: str) -> None:
        """Record that no connection can be opened; the first time is logged."""
        self.failed(self._context.clock())
        if self.up is not False:
            self.up = False
            self._look_again.set()
            self._log.warning("upstream.lost", reason=reason, **self._named())

    def configure(self, target: UpstreamConfig, connect_timeout: Nanoseconds) -> None:
        """Go by other settings of its upstream."""
        asked_anew = self.target.kind != target.kind
        self.target, self.onward_key = target, onward_key(target, self.endpoint)
        self.pool.connect_timeout = connect_timeout
        if asked_anew:
            self.identity = ServerIdentity()
            self._look_again.set()

    # --- looking at it -----------------------------------------------------------------------------------

    def attend(self) -> None:
        """Begin to look at it: what it is, and whether it is there."""
        if self._watching is None:
            self._watching = self._context.tasks.run(self._watch())

    def close(self) -> None:
        """Look at it no longer, and keep no connection; requests under way finish."""
        if self._watching is not None:
            self._watching.cancel()
        self._context.watchdog.discard(self.pool)
        self.pool.close()

    async def _watch(self) -> None:
        """Look until cancelled: until it is ready, after each loss, and while no traffic tells."""
        wait = FIRST_LOOK
        while True:
            self._look_again.clear()
            server = await look(self.pool, self.target.kind)
            self._learn(server)
            if server is not None and server.ready:
                wait = FIRST_LOOK
                await self._lost()
            else:
                await self._pace.sleep(wait)
                wait = min(2 * wait, LAST_LOOK)

    def _learn(self, server: ServerIdentity | None) -> None:
        if server is None:
            self.unreached("it does not answer")
            return
        self.reached()
        known = self.identity
        self.identity = ServerIdentity(
            server.kind or known.kind,
            server.version or known.version,
            server.models or known.models,
            title=server.title or known.title,
        )
        self._learned()

    async def _lost(self) -> None:
        """Wait until it has to be looked at again."""
        while not self._look_again.is_set():
            try:
                async with asyncio.timeout(self._pace.idle_look):
                    await self._look_again.wait()
            except TimeoutError:
                if not self.in_flight:
                    await self._ask()

    async def _ask(self) -> None:
        try:
            (await self.pool.connect()).abort()
        except UpstreamError as error:
            self.unreached(str(error))

    def _worked_on(self, keeps_working: bool) -> None:  # noqa: FBT001, RUF100 (an answer)
        """Record whether it worked on for a client that had left; the first time is logged."""
        if keeps_working and not self.keeps_working:
            self._log.warning("upstream.overran", kind=self.kind, **self._named())
        self.keeps_working = keeps_working

    def _named(self) -> dict[str, str]:
        named = {"upstream": self.target.name}
        return named if len(self.target.endpoints) == 1 else {**named, "replica": self.name}


def onward_key(target: UpstreamConfig, endpoint: Endpoint) -> str:
    """Return what the head of a request depends on that goes to this server."""
    return f"{endpoint.text()} {target.path if target.strip_path else ''}"
