"""Keeps a meter and its gates running: starts them, restarts what dies, ends them in their order.

``joulegate run`` becomes this program once the configuration is checked: ``python -m joulegate.supervisor
DIRECTORY LOCK``. It lives as long as the run, so that it imports nothing that only its children need.
"""

import asyncio
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import msgspec

from joulegate import log
from joulegate.child import LOOP, SEASONED, Child, ChildSpec, Output, Restarts, Verdict
from joulegate.lifeline import LIFELINE, STDERR, Lifeline
from joulegate.log import logger
from joulegate.rundir import PLAN, RunDirectory

SIGNALS = (signal.SIGTERM, signal.SIGINT)


def to_stderr(lines: bytes) -> None:
    """Pass a child's lines on. A terminal that is gone ends nothing."""
    with suppress(OSError):
        while lines:
            lines = lines[os.write(STDERR, lines) :]


class RunPlan(msgspec.Struct, frozen=True):
    """What to run, as a run directory holds it."""

    commands: tuple[ChildSpec, ...]
    grace: float
    """Seconds that a stage has to end."""
    banner: tuple[str, ...] = ()
    """The program that shows what is here, once; empty shows nothing."""


class Supervisor:
    """Runs children until one of them may not be restarted, or a signal asks for the end.

    The first SIGTERM or SIGINT lets each stage, the highest first, ``grace`` seconds for its requests;
    the second one kills everything. Children that watch their lifeline end by themselves if the
    supervisor is killed.
    """

    def __init__(
        self,
        commands: Sequence[ChildSpec],
        *,
        grace: float,
        environment: Mapping[str, str],
        inherit: Sequence[int] = (),
        output: Output = to_stderr,
        banner: Sequence[str] = (),
    ) -> None:
        self._commands = sorted(commands, key=lambda spec: spec.stage)
        self._grace = grace
        self._environment = environment
        self._inherit = inherit
        self._output = output
        self._banner = banner
        self._children: list[Child] = []
        self._ending = asyncio.Event()
        self._code: int | None = None
        self._log = logger("supervisor")

    async def run(self) -> int:
        """Run to the end; return exit code: 0, or that of the child that ended the run, or 1 if killed."""
        loop = asyncio.get_running_loop()
        end, writing = os.pipe()  # the writing end stays here: it closes when this process dies
        line = Lifeline(end, os.dup(STDERR))
        self._children = [self._child(spec, line) for spec in self._commands]
        for number in SIGNALS:
            loop.add_signal_handler(number, self.stop)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)  # what came since the configuration was checked
        try:
            async with asyncio.TaskGroup() as group:
                if self._banner:
                    showing = group.create_task(self._show(self._banner))
                lives = {child: group.create_task(self._keep(child)) for child in self._children}
                await self._wind_down(lives)
                if self._banner:
                    showing.cancel()
        finally:
            for number in SIGNALS:
                loop.remove_signal_handler(number)
            for descriptor in (end, writing, line.output):
                os.close(descriptor)
        return self._code or 0

    def stop(self) -> None:
        """Begin the end; the second call kills what still runs."""
        if not self._ending.is_set():
            self._ending.set()
            return
        self._code = self._code or 1
        for child in self._children:
            child.kill()

    def pids(self) -> dict[str, int | None]:
        """Return the process id of each child by its name; ``None`` while it is down."""
        return {child.spec.name: child.pid for child in self._children}

    async def _show(self, banner: Sequence[str]) -> None:
        """Run the program that shows what is here. It holds up nothing but the screen."""
        with suppress(OSError):
            process = await asyncio.create_subprocess_exec(*banner, env=self._environment)
            try:
                await process.wait()
            finally:
                with suppress(ProcessLookupError):
                    process.kill()

    def _child(self, spec: ChildSpec, line: Lifeline) -> Child:
        environment = {**self._environment, LIFELINE: str(line)}
        return Child(spec, environment, (*self._inherit, line.end, line.output), self._output)

    async def _keep(self, child: Child) -> None:
        """Run a child again and again until it may not or need not be."""
        restarts = Restarts()
        word = "process.started"
        while not child.retiring.is_set():
            code, age = await self._life(child, restarts, word)
            if child.retiring.is_set():
                return
            verdict = restarts.died(code, age)
            self._report_death(child, code, verdict)
            if verdict.delay is None or not child.spec.restart:
                self._end_with(code)
                return
            await _at_most(verdict.delay, child.retiring)
            word = "process.restarted"

    async def _life(self, child: Child, restarts: Restarts, word: str) -> tuple[int, float]:
        """Run one process; return its exit code and how long it lived in seconds."""
        loop = asyncio.get_running_loop()
        born = loop.time()

        def started() -> None:
            if not restarts.looping:
                self._log.info(word, name=child.spec.name, pid=child.pid)

        def survived() -> None:
            if restarts.looping:
                self._log.info(word, name=child.spec.name, pid=child.pid, note="it stays up again")
            restarts.survived()

        seasoned = loop.call_later(SEASONED, survived)
        try:
            code = await child.live(started)
        finally:
            seasoned.cancel()
        return code, loop.time() - born

    async def _wind_down(self, lives: Mapping[Child, asyncio.Task[None]]) -> None:
        """Wait for the end to begin, then end one stage after the other, the highest first."""
        await self._ending.wait()
        for stage in sorted({child.spec.stage for child in lives}, reverse=True):
            await self._end_stage([child for child in lives if child.spec.stage == stage], lives)

    async def _end_stage(self, children: Sequence[Child], lives: Mapping[Child, asyncio.Task[None]]) -> None:
        for child in children:
            child.retire()
        tasks = [lives[child] for child in children]
        _, late = await asyncio.wait(tasks, timeout=self._grace)
        if late:
            names = [child.spec.name for child in children if lives[child] in late]
            self._log.warning("process.killed", names=names, grace_seconds=self._grace)
            for child in children:
                child.kill()
            await asyncio.wait(late)

    def _end_with(self, code: int) -> None:
        if self._code is None:
            self._code = code if code >= 0 else 128 - code
        self._ending.set()

    def _report_death(self, child: Child, code: int, verdict: Verdict) -> None:
        """Report each death, and a crash loop once, with what the process last said."""
        said = self._log.bind(name=child.spec.name, **_cause(code))
        if not child.spec.restart:
            said.info("process.died")
        elif verdict.delay is None:
            said.error("process.died", note="given up", last_lines=list(child.last_lines))
        elif verdict.deaths < LOOP:
            said.warning("process.died", restart_in_seconds=verdict.delay)
        elif verdict.deaths == LOOP:
            note = "it dies again and again; restarts go on and are not reported until it stays up"
            said.error("process.died", note=note, last_lines=list(child.last_lines))


def _cause(code: int) -> dict[str, int | str]:
    return {"exit_code": code} if code >= 0 else {"signal": signal.strsignal(-code) or str(-code)}


async def _at_most(delay: float, event: asyncio.Event) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(delay):
            await event.wait()


def supervise(folder: RunDirectory, environment: Mapping[str, str]) -> int:
    """Run what the directory says to the end, and remove the directory; return the exit code."""
    try:
        plan = msgspec.msgpack.decode((folder.path / PLAN).read_bytes(), type=RunPlan)
        supervisor = Supervisor(
            plan.commands,
            grace=plan.grace,
            environment=environment,
            inherit=[folder.lock],
            banner=plan.banner,
        )
        return asyncio.run(supervisor.run())
    finally:
        folder.close()


def main(path: str, lock: str, form: str, level: str) -> int:
    """Supervise in a process of its own; return the exit code."""
    log.configure(json=form == "json", level="warning" if level == "warning" else "info")
    return supervise(RunDirectory(Path(path), int(lock)), os.environ)  # noqa: TID251 (handed down as it is)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
