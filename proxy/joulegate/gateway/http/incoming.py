"""One request on its way from the connection that brought it to whoever answers it."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from joulegate.gateway.http.body import RequestBody
from joulegate.gateway.http.heads import RequestHead
from joulegate.units import Nanoseconds

if TYPE_CHECKING:
    from joulegate.gateway.http.client_connection import ClientConnection


class Incoming:
    """One request as its connection hands it over."""

    __slots__ = ("arrived", "body", "client", "head", "small")

    def __init__(self, client: "ClientConnection", head: RequestHead, arrived: Nanoseconds) -> None:
        self.client = client
        self.head = head
        self.arrived = arrived
        self.small: bytes | None = None
        """The whole body, if it is here and small: then it can be sent again."""
        self.body: RequestBody | None = None
        """A body that did not come with its head."""

    @property
    def ended(self) -> bool:
        """All of the request has arrived."""
        return self.body is None or self.body.ended


Handler = Callable[[Incoming], None]
"""Answers one request. Never raises."""
