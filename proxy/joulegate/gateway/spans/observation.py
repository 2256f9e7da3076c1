"""Listening to an exchange without ever harming it.

An observer's exception is counted and ends the observation; the exchange goes on untouched.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import TypeVar, cast

from msgspec import Struct
from msgspec.structs import replace

from joulegate.framing.effort import TooMuchWork
from joulegate.framing.websocket import Message
from joulegate.gateway.http.encodings import Decoder, Undecodable, plain
from joulegate.gateway.policy.route_rules import Ruled
from joulegate.gateway.spans.ids import MODEL_LENGTH, model_name
from joulegate.model import Asked, JobSign, ServerTimings, TaskFacts
from joulegate.ports import (
    Conclusion,
    Headers,
    InferenceProtocol,
    JobObserver,
    Observer,
    Rewrite,
    Route,
    WebsocketObserver,
    about,
)
from joulegate.units import Nanoseconds

T = TypeVar("T")
GENERIC = "generic"
"""The protocol that is asked last."""


@lru_cache(maxsize=256)
def _tells_jobs(observer: type[Observer]) -> bool:
    """Whether observers of a class are ``JobObserver``; kept, because asking takes longer than a chunk."""
    return issubclass(observer, JobObserver)


class SilentObserver:
    """Hears nothing: the observer of what nobody listens to."""

    def request_body(self, chunk: bytes) -> None:
        """Accept nothing in."""

    def asked(self) -> Asked:
        """Know nothing."""
        return Asked()

    def rewrite(self, body: bytes) -> Rewrite | None:  # noqa: ARG002 (the port's signature)
        """Leave the body as it is."""
        return None

    def response_head(self, status: int, headers: Headers) -> None:
        """Accept nothing in."""

    def response_body(self, t: Nanoseconds, chunk: bytes) -> int:  # noqa: ARG002 (the port's signature)
        """Count the bytes, so that the answer's first one is known."""
        return len(chunk)

    def response_end(self, *, complete: bool) -> None:
        """Accept nothing in."""

    def conclusion(self) -> Conclusion:
        """Know nothing."""
        return Conclusion.NONE

    def facts(self) -> TaskFacts:
        """Know nothing."""
        return TaskFacts()

    def timings(self) -> ServerTimings:
        """Know nothing."""
        return ServerTimings()

    def model(self) -> str | None:
        """Know nothing."""
        return None

    def streamed(self) -> bool:
        """Know nothing."""
        return False


def choose(
    protocols: Mapping[str, InferenceProtocol],
    method: str,
    path: str,
    headers: Headers,
    failed: Callable[[str], None],
    rule: Ruled | None = None,
) -> "Observation":
    """Return who listens: the first protocol that knows the route; ``failed`` is told of those that raise.

    A route that only the configuration knows is for ``generic`` to listen to.
    """
    seen = (rule.rule.like or path) if rule else path
    for name, protocol in protocols.items():
        if rule and rule.rule.like is None and name != GENERIC:
            continue
        try:
            route = protocol.matches(method, seen)
            if route is not None:
                route = rule.over(route) if rule else route
                return Observation(protocol.observer(route, headers), name, route, failed)
        except Exception:  # noqa: BLE001, RUF100 (a plug-in may raise anything; the traffic goes on)
            failed(name)
    return Observation(SilentObserver(), GENERIC, Route("other", dialect="plain"), failed)


def preferring(protocols: Mapping[str, InferenceProtocol], kind: str) -> Mapping[str, InferenceProtocol]:
    """Return the protocols in the order in which they are asked about a server of this kind.

    A path like ``/generate`` means different things on different servers; ``generic`` stays the last.
    """
    return dict(sorted(protocols.items(), key=lambda item: kind not in about(item[1]).kinds))


class ObservedFacts(Struct):
    """What an observer says at the end; of one that raises, what it said until then."""

    streamed: bool = False
    facts: TaskFacts = TaskFacts()
    timings: ServerTimings = ServerTimings()
    model: str | None = None


class Observation:
    """One observer, guarded."""

    __slots__ = (
        "_answer", "_failed", "_gave_up", "_observer", "_request", "failed", "known", "learns_of_jobs",
        "protocol", "route",
    )  # fmt: skip

    def __init__(
        self, observer: Observer, protocol: str, route: Route, failed: Callable[[str], None]
    ) -> None:
        self._observer = observer
        self._failed = failed
        self.protocol = protocol
        self.route = route
        self.known: Asked | None = None
        """What ``asked`` has found, as long as no more of the request comes."""
        self._request: Decoder | None = None
        self._answer: Decoder | None = None
        self._gave_up = False
        """Looking into the request cost more than its budget."""
        self.failed = False
        """The observer raised; from then on it hears nothing."""
        self.learns_of_jobs = _tells_jobs(type(observer))
        """The observer may have something to say of jobs."""

    def unfold(self, *, request: Decoder | None = None, answer: Decoder | None = None) -> None:
        """Let the observer hear what a compressed body says."""
        self._request = request or self._request
        self._answer = answer or self._answer

    def request_body(self, chunk: bytes) -> None:
        """Accept a part of the request body."""
        if self.failed or self._gave_up:
            return
        self.known = None
        try:
            if self._request is None:
                self._observer.request_body(chunk)
            else:
                for piece in self._request.feed(chunk):
                    self._observer.request_body(piece)
        except (TooMuchWork, Undecodable):
            # What it asks for stays unknown from here on; its answer is listened to all the same.
            self._gave_up = True
            self._failed(self.protocol)
        except Exception:  # noqa: BLE001, RUF100 (a plug-in may raise anything; the traffic goes on)
            self._fail()

    def asked(self) -> Asked:
        """Return what is known of the wish so far, its model fit to be kept."""
        if self.known is None:
            try:
                asked = self._observer.asked()
            except Exception:  # noqa: BLE001, RUF100 (a plug-in may raise anything; the traffic goes on)
                self._fail()
                asked = Asked()
            model = asked.model
            if model is not None and not (0 < len(model) <= MODEL_LENGTH and model.isprintable()):
                asked = replace(asked, model=model_name(model))
            self.known = asked
        return self.known

    def rewrite(self, body: bytes) -> Rewrite | None:
        """Return the body to send in place of this one, if any."""
        return None if self.failed else self._guard(lambda: self._observer.rewrite(body), None)

    def response_head(self, status: int, headers: Headers) -> None:
        """Accept the head of the answer."""
        if self.failed:
            return
        try:
            self._observer.response_head(status, headers if self._answer is None else plain(headers))
        except Exception:  # noqa: BLE001, RUF100 (a plug-in may raise anything; the traffic goes on)
            self._fail()

    def response_parts(self, times: Sequence[Nanoseconds], parts: Sequence[bytes]) -> list[int]:
        """Accept parts of the answer; return the content bytes of each, all of them once nobody listens."""
        sizes: list[int] = []
        if not self.failed:
            hear = self._observer.response_body if self._answer is None else self._unfolded
            try:
                for t, part in zip(times, parts, strict=True):
                    sizes.append(hear(t, part))
            except Exception:  # noqa: BLE001, RUF100 (a plug-in may raise anything; the traffic goes on)
                self._fail()
        if len(sizes) < len(parts):
            sizes += map(len, parts[len(sizes) :])
        return sizes

    def _unfolded(self, t: Nanoseconds, part: bytes) -> int:
        """Let the observer hear what a part of a compressed answer says."""
        pieces = self._answer.feed(part) if self._answer is not None else ()
        return sum(self._observer.response_body(t, piece) for piece in pieces)

    def response_end(self, *, complete: bool) -> None:
        """Notify that the answer is over."""
        if self.failed:
            return
        try:
            self._observer.response_end(complete=complete)
        except Exception:  # noqa: BLE001, RUF100 (a plug-in may raise anything; the traffic goes on)
            self._fail()

    def conclusion(self) -> Conclusion:
        """Return what the answer has said of its end so far."""
        if not self.failed:
            try:
                return self._observer.conclusion()
            except Exception:  # noqa: BLE001, RUF100 (a plug-in may raise anything; the traffic goes on)
                self._fail()
        return Conclusion.NONE

    def streamed(self) -> bool:
        """Whether the answer is a stream of parts."""
        try:
            return self._observer.streamed()
        except Exception:  # noqa: BLE001, RUF100 (a plug-in may raise anything; the traffic goes on)
            self._fail()
            return False

    def jobs(self) -> Sequence[JobSign]:
        """Return what was learnt of jobs since the last call."""
        return self._guard(cast(JobObserver, self._observer).jobs, ()) if self.learns_of_jobs else ()

    @property
    def hears_messages(self) -> bool:
        """The observer listens to a websocket."""
        return not self.failed and isinstance(self._observer, WebsocketObserver)

    def message(self, t: Nanoseconds, message: Message, *, from_client: bool) -> None:
        """Accept a message of a websocket."""
        if not self.failed:
            hear = cast(WebsocketObserver, self._observer).message
            self._guard(lambda: hear(t, message.data, text=message.text, from_client=from_client), None)

    def give_up(self) -> None:
        """Count the observation as failed: what passes cannot be read."""
        self._fail()

    def account(self) -> ObservedFacts:
        """Return all that is known at the end."""
        account = ObservedFacts()
        observer = self._observer
        try:
            account.streamed = observer.streamed()
            account.facts = observer.facts()
            account.timings = observer.timings()
            model = observer.model()
            fit = model is None or (0 < len(model) <= MODEL_LENGTH and model.isprintable())
            account.model = model if fit else model_name(model)
        except Exception:  # noqa: BLE001, RUF100 (a plug-in may raise anything; the traffic goes on)
            self._fail()
        return account

    def _guard(self, question: Callable[[], T], otherwise: T) -> T:
        try:
            return question()
        except Exception:  # noqa: BLE001, RUF100 (a plug-in may raise anything; the traffic goes on)
            self._fail()
            return otherwise

    def _fail(self) -> None:
        if not self.failed:
            self.failed = True
            self._failed(self.protocol)
