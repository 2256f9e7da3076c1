"""The bytes of a request as the upstream gets them. Pure."""

from joulegate.gateway.http.framing import LAST_CHUNK, chunk, request_lines
from joulegate.gateway.http.headers import forwarded, request_head
from joulegate.gateway.http.heads import RequestHead
from joulegate.gateway.policy.routing import upstream_target
from joulegate.gateway.replica import Replica
from joulegate.ports import Rewrite


def onward_head(head: RequestHead, replica: Replica) -> bytes:
    """Return the head for the upstream; it is the same for each request with this head to this server."""
    onward = head.onward.get(replica.onward_key)
    if onward is None:
        framing = request_lines(head.length, chunked=head.chunked)
        onward = head.onward[replica.onward_key] = _head(head, replica, framing)
    return onward


def whole_request(head: RequestHead, replica: Replica, body: bytes) -> bytes:
    """Return the request with a body that is here whole."""
    if head.chunked:
        body = b"".join(chunk(body)) + LAST_CHUNK
    return (head.onward.get(replica.onward_key) or onward_head(head, replica)) + body


def rewritten_request(head: RequestHead, replica: Replica, rewrite: Rewrite) -> bytes:
    """Return the request with another body; what is to be filtered of its answer comes uncompressed."""
    framing = request_lines(len(rewrite.body), chunked=False)
    return _head(head, replica, framing, plain=rewrite.strip is not None) + rewrite.body


def _head(head: RequestHead, replica: Replica, framing: bytes, *, plain: bool = False) -> bytes:
    """Return the head for the upstream; ``plain`` asks for an answer that can be filtered."""
    endpoint = replica.endpoint
    fields = forwarded(head.headers)
    host = endpoint.address().encode()
    if b"host" not in head.fields:
        fields.insert(0, (b"Host", host))
    if endpoint.scheme == "https":
        # The certificate and the virtual host are the upstream's own; over plain HTTP the client's stays.
        fields = [(name, host if name.lower() == b"host" else value) for name, value in fields]
    dropped = (b"expect", b"accept-encoding") if plain else (b"expect",)
    if any(name in head.fields for name in dropped):
        fields = [field for field in fields if field[0].lower() not in dropped]
    if head.upgrade:
        framing = b"Connection: Upgrade\r\nUpgrade: websocket\r\n"
    return request_head(head.method, upstream_target(replica.target, head.target), fields, framing)
