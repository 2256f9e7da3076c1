"""``GET /v1/record``: a recording as newline-delimited JSON, for as long as it runs.

Each line is an object with one field: ``trace`` and ``nvml`` hold a row of that file, ``setup`` the setup as
it is known by then (the last one counts), ``end`` the summary of a recording that came to its end. Blank
lines say that the meter is still there.
"""

import asyncio
import math

import msgspec
from aiohttp import web

from joulegate.errors import ConfigError
from joulegate.meter.recording.recorder import NothingToRecord, Recorder, TooMany
from joulegate.meter.recording.recording import Recording
from joulegate.units import Nanoseconds, nanoseconds

DEFAULT, LONGEST = "60", 3_600.0
"""Seconds."""
PAUSE = 0.2
"""Seconds between two looks at what has come."""
SIGN_EVERY = 5
"""Looks without a line after which a blank one is sent."""
AT_A_TIME = 1 << 16
"""Bytes in one write."""
STUCK = 10.0
"""Seconds that one write may take: a reader that takes nothing for so long is let go, for a meter that stops
waits for it."""
NAME = "Joulegate-Recording"
"""Header with the name by which a recording is ended early."""


class RecordRoute:
    """The handlers."""

    def __init__(self, recorder: Recorder, *, stuck: float = STUCK) -> None:
        self._recorder = recorder
        self._stuck = stuck

    async def record(self, request: web.Request) -> web.StreamResponse:
        """Record ``?seconds=N``, 60 if it does not say, at most 3,600."""
        time = _time(request.query.get("seconds", DEFAULT))
        try:
            name, recording = self._recorder.begin(time)
        except TooMany as error:
            raise web.HTTPTooManyRequests(reason=str(error)) from error
        except NothingToRecord as error:
            raise web.HTTPServiceUnavailable(reason=str(error)) from error
        response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson", NAME: name})
        try:
            await response.prepare(request)
            await self._relay(recording, response)
        except (ConnectionError, TimeoutError):
            pass  # the reader has gone
        finally:
            self._recorder.release(name)
        return response

    async def end(self, request: web.Request) -> web.Response:
        """End a recording early: the rest of it comes on its own connection."""
        if not self._recorder.end(request.match_info["name"]):
            raise web.HTTPNotFound(reason="no recording of this name runs")
        return web.Response(body=msgspec.json.encode({"ended": True}), content_type="application/json")

    async def _relay(self, recording: Recording, response: web.StreamResponse) -> None:
        silent = 0
        while True:
            self._recorder.poll(recording)
            lines = recording.fetch(AT_A_TIME)
            if not lines and recording.ended:
                return
            silent = 0 if lines else silent + 1
            if lines or silent >= SIGN_EVERY:
                silent = 0
                async with asyncio.timeout(self._stuck):
                    await response.write(lines or b"\n")
            if not lines:
                await asyncio.sleep(PAUSE)


def _time(text: str) -> Nanoseconds:
    try:
        time = float(text)
    except ValueError:
        time = math.nan
    if not 0 < time <= LONGEST:
        raise ConfigError(f"seconds: {text[:60]!r} is not a number above 0 and up to {LONGEST:g}")
    return nanoseconds(time)
