"""Asks servers after jobs that no traffic tells of, over connections of its own.

It is never in the way: a few questions at a time, seldom, and none to a server that does not answer them.
What a protocol reads of the answer goes the way of everything that is heard of jobs.
"""

import asyncio
import ssl
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack

from aiohttp import ClientError, ClientSession, ClientTimeout, DummyCookieJar, TCPConnector
from msgspec import Struct
from yarl import URL

from joulegate import trust
from joulegate.gateway.jobs import Clock, Followed, Jobs
from joulegate.gateway.observation import Observation
from joulegate.gateway.settings import Target
from joulegate.model import JobSign, JobState
from joulegate.ports import Headers, InferenceProtocol
from joulegate.units import NANO, Nanoseconds, seconds

AT_ONCE = 4
"""Questions at the same time."""
PATIENCE = 10.0
"""Seconds for an answer."""
LARGEST = 8 << 20
"""Bytes of an answer that is read."""
FAILURES = 10
"""Failed questions in a row after which a job is left alone: two and a half minutes."""
LONGEST = Nanoseconds(30 * NANO)
"""Between two questions that fail."""
_GONE = {404, 410}
_UNKNOWN = {404, 405, 501}


class Answer(Struct, frozen=True):
    """What a server said."""

    status: int
    headers: Headers
    body: bytes


class Follower:
    """Asks after the jobs of one gate, until it is cancelled."""

    def __init__(
        self,
        jobs: Jobs,
        protocols: Mapping[str, InferenceProtocol],
        upstreams: Mapping[str, Target],
        clock: Clock,
        failed: Callable[[str], None],
    ) -> None:
        self._jobs = jobs
        self._protocols = protocols
        self._upstreams = upstreams
        self._clock = clock
        self._failed = failed
        self._tls: dict[str, ssl.SSLContext] = {}
        self._changed = asyncio.Event()
        jobs.changed = self._changed.set

    async def run(self) -> None:
        """Ask, until cancelled."""
        slots = asyncio.Semaphore(AT_ONCE)
        async with AsyncExitStack() as stack:
            group = await stack.enter_async_context(asyncio.TaskGroup())
            session: ClientSession | None = None
            while True:
                await slots.acquire()
                followed = await self._next()
                if session is None:
                    session = await stack.enter_async_context(_session())
                group.create_task(self._turn(session, followed, slots))

    async def _next(self) -> Followed:
        """Wait for the job that is due next."""
        while True:
            self._changed.clear()
            waiting = [job for job in self._jobs.followed.values() if not job.asking]
            first = min(waiting, key=lambda job: job.due, default=None)
            wait = None if first is None else seconds(Nanoseconds(first.due - self._clock()))
            if first is not None and wait is not None and wait <= 0:
                first.asking = True
                return first
            try:
                async with asyncio.timeout(wait):
                    await self._changed.wait()
            except TimeoutError:
                continue

    async def _turn(self, session: ClientSession, followed: Followed, slots: asyncio.Semaphore) -> None:
        try:
            answer = await self._ask(session, followed)
            self._take(followed, answer)
        except (ClientError, OSError, TimeoutError, ValueError):
            self._missed(followed)
        except Exception:  # noqa: BLE001, RUF100 (a plug-in may raise anything; the traffic goes on)
            self._failed(followed.origin.protocol)
            self._jobs.drop(followed, self._clock())
        finally:
            followed.asking = False
            slots.release()
            self._changed.set()

    async def _ask(self, session: ClientSession, followed: Followed) -> Answer:
        target = self._upstreams[followed.origin.upstream]
        url = URL(f"{target.endpoint.text()}{followed.paths[0]}", encoded=True)
        fields = [
            (name.decode("latin-1"), value.decode("latin-1")) for name, value in followed.origin.credentials
        ]
        tls: ssl.SSLContext | bool = (
            trust.context(target.ca_file) if target.endpoint.scheme == "https" else True
        )
        async with session.get(url, headers=fields, ssl=tls, allow_redirects=False) as answer:
            body = b""
            async for part in answer.content.iter_any():
                body += part
                if len(body) > LARGEST:
                    raise ValueError("the answer is too large")
            return Answer(answer.status, answer.raw_headers, body)

    def _trust(self, target: Target) -> ssl.SSLContext | bool:
        if target.endpoint.scheme != "https":
            return True
        if target.name not in self._tls:
            self._tls[target.name] = trust.context(target.ca_file)
        return self._tls[target.name]

    def _missed(self, followed: Followed) -> None:
        """Wait longer for a server that does not answer, and at last leave it alone."""
        now = self._clock()
        followed.failures += 1
        if followed.failures >= FAILURES:
            self._jobs.drop(followed, now)
        else:
            followed.due = Nanoseconds(now + min(NANO << followed.failures, LONGEST))

    def _take(self, followed: Followed, answer: Answer) -> None:
        now = self._clock()
        followed.failures = 0
        if answer.status in _GONE and followed.known:
            state = JobState.FAILED if followed.running else JobState.CANCELLED
            self._tell(followed, now, JobSign(followed.job, state))
            return
        if answer.status in _UNKNOWN:
            followed.paths = followed.paths[1:]
            if not followed.paths:
                self._jobs.drop(followed, now)
                return
        elif 200 <= answer.status < 300:
            for sign in self._read(followed, answer, now):
                followed.known = followed.known or sign.job == followed.job
                self._tell(followed, now, sign)
        if self._jobs.followed.get(followed.key) is followed:
            self._jobs.schedule(followed, now)

    def _tell(self, followed: Followed, now: Nanoseconds, sign: JobSign) -> None:
        self._jobs.tell(followed.identity, followed.origin, now, sign, asked=True)

    def _read(self, followed: Followed, answer: Answer, now: Nanoseconds) -> list[JobSign]:
        """Let the protocol read the answer to a question about its own job."""
        name, path = followed.origin.protocol, followed.paths[0].partition("?")[0]
        protocol = self._protocols[name]
        route = protocol.matches("GET", path)
        if route is None:
            return []
        observation = Observation(protocol.observer(route, ()), name, self._failed)
        if not observation.learns_of_jobs:
            return []
        observation.response_head(answer.status, answer.headers)
        observation.response_body(now, answer.body)
        observation.response_end(complete=True)
        return list(observation.jobs())


def _session() -> ClientSession:
    """Give a client that keeps nothing of what servers say, and asks for plain answers."""
    return ClientSession(
        connector=TCPConnector(limit=AT_ONCE),
        cookie_jar=DummyCookieJar(),
        timeout=ClientTimeout(total=PATIENCE),
        headers={"Accept": "application/json", "Accept-Encoding": "identity", "User-Agent": "joulegate"},
        trust_env=False,
    )
