"""Asks servers after jobs that no traffic tells of, over connections of its own.

It is never in the way: a few questions at a time, seldom, and none to a server that does not answer them.
What a protocol reads of the answer goes the way of everything that is heard of jobs.
"""

import asyncio
from collections.abc import Callable, Mapping

from joulegate.errors import UpstreamError
from joulegate.gateway.http.call import call
from joulegate.gateway.jobs.job_tracker import Clock, JobTracker, PolledJob
from joulegate.gateway.spans.observation import Observation
from joulegate.model import JobSign, JobState
from joulegate.ports import InferenceProtocol
from joulegate.ports.servers import ServerAnswer
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


class JobPoller:
    """Asks after the jobs of one gate, until it is cancelled."""

    def __init__(
        self,
        jobs: JobTracker,
        protocols: Mapping[str, InferenceProtocol],
        clock: Clock,
        failed: Callable[[str], None],
    ) -> None:
        self._jobs = jobs
        self._protocols = protocols
        self._clock = clock
        self._failed = failed

    async def run(self) -> None:
        """Ask, until cancelled."""
        slots = asyncio.Semaphore(AT_ONCE)
        async with asyncio.TaskGroup() as group:
            while True:
                await slots.acquire()
                group.create_task(self._turn(await self._next(), slots))

    async def _next(self) -> PolledJob:
        """Wait for the job that is due next."""
        while True:
            self._jobs.changed.clear()
            waiting = [job for job in self._jobs.followed.values() if not job.asking]
            first = min(waiting, key=lambda job: job.due, default=None)
            wait = None if first is None else seconds(Nanoseconds(first.due - self._clock()))
            if first is not None and wait is not None and wait <= 0:
                first.asking = True
                return first
            try:
                async with asyncio.timeout(wait):
                    await self._jobs.changed.wait()
            except TimeoutError:
                continue

    async def _turn(self, followed: PolledJob, slots: asyncio.Semaphore) -> None:
        try:
            await self._ask(followed)
        except UpstreamError:
            self._missed(followed)
        except Exception:  # noqa: BLE001, RUF100 (a plug-in may raise anything; the traffic goes on)
            self._failed(followed.origin.protocol)
            self._jobs.drop(followed, self._clock())
        finally:
            followed.asking = False
            slots.release()
            self._jobs.changed.set()

    async def _ask(self, followed: PolledJob) -> None:
        """Ask under one path after the other until one tells of the job, and choose when to ask again."""
        pool, shown = followed.origin.pool, followed.origin.credentials
        if pool is None:
            self._jobs.drop(followed, self._clock())
            return
        for path in followed.paths:
            answer = await call(pool, "GET", path, shown=shown, patience=PATIENCE, largest=LARGEST)
            if self._take(followed, path, answer):
                break
        now = self._clock()
        followed.failures = 0
        if not followed.paths:
            self._jobs.drop(followed, now)
        elif self._jobs.followed.get(followed.key) is followed:
            self._jobs.schedule(followed, now)

    def _missed(self, followed: PolledJob) -> None:
        """Wait longer for a server that does not answer, and at last leave it alone."""
        now = self._clock()
        followed.failures += 1
        if followed.failures >= FAILURES:
            self._jobs.drop(followed, now)
        else:
            followed.due = Nanoseconds(now + min(NANO << followed.failures, LONGEST))

    def _take(self, followed: PolledJob, path: str, answer: ServerAnswer) -> bool:
        """Accept an answer; return whether it told of the job. A path unknown to the server is dropped."""
        now = self._clock()
        if answer.status in _GONE and followed.known:
            state = JobState.FAILED if followed.running else JobState.CANCELLED
            self._tell(followed, now, JobSign(followed.job, state))
            return True
        if answer.status in _UNKNOWN:
            followed.paths = [other for other in followed.paths if other != path]
        told = False
        for sign in self._read(followed, path, answer, now) if 200 <= answer.status < 300 else ():
            told = told or sign.job == followed.job
            self._tell(followed, now, sign)
        followed.known = followed.known or told
        return told

    def _tell(self, followed: PolledJob, now: Nanoseconds, sign: JobSign) -> None:
        self._jobs.tell(followed.identity, followed.origin, now, sign, asked=True)

    def _read(self, followed: PolledJob, path: str, answer: ServerAnswer, now: Nanoseconds) -> list[JobSign]:
        """Let the protocol read the answer to a question about its own job."""
        name = followed.origin.protocol
        protocol = self._protocols[name]
        route = protocol.matches("GET", path.partition("?")[0])
        if route is None:
            return []
        observation = Observation(protocol.observer(route, ()), name, route, self._failed)
        if not observation.learns_of_jobs:
            return []
        observation.response_head(answer.status, list(answer.fields.items()))
        observation.response_parts([now], [answer.body])
        observation.response_end(complete=True)
        return list(observation.jobs())
