"""Listens to a websocket that passes: to copies, after the bytes have gone on, and never harming them."""

from collections.abc import Callable

from joulegate.framing.websocket import BrokenWebsocket, WebsocketReader, compresses
from joulegate.gateway.spans.observation import Observation
from joulegate.gateway.spans.request_span import JobSink
from joulegate.ports import Headers
from joulegate.units import Nanoseconds


class WebsocketObservation:
    """Hears both directions of one websocket; bytes that are none end it, the tunnel goes on."""

    __slots__ = ("_clock", "_ear", "_observation", "_readers")

    def __init__(
        self, observation: Observation, ear: JobSink, clock: Callable[[], Nanoseconds], answer: Headers
    ) -> None:
        fields = [value for name, value in answer if name.lower() == b"sec-websocket-extensions"]
        deflate = compresses(b",".join(fields))
        self._readers = {True: WebsocketReader(deflate=deflate), False: WebsocketReader(deflate=deflate)}
        self._observation = observation
        self._ear = ear
        self._clock = clock

    def heard(self, data: bytes, *, from_client: bool) -> None:
        """Accept bytes that have passed on."""
        observation = self._observation
        if observation.failed:
            return
        try:
            messages = self._readers[from_client].feed(data)
        except BrokenWebsocket:
            observation.give_up()
            return
        t = self._clock()
        for message in messages:
            observation.message(t, message, from_client=from_client)
        if messages:
            self._ear.tell(t, observation.jobs())
