"""The bytes of a request as the upstream gets them. Pure."""

from joulegate.gateway.http.framing import LAST_CHUNK, chunk, request_lines
from joulegate.gateway.http.headers import forwarded, request_head
from joulegate.gateway.http.heads import RequestHead
from joulegate.gateway.policy.routing import upstream_target
from joulegate.gateway.policy.settings import Target
from joulegate.ports import Rewrite


def onward_head(head: RequestHead, target: Target) -> bytes:
    """Return the head for the upstream; it is the same for each request with this head."""
    onward = head.onward.get(target.name)
    if onward is None:
        framing = request_lines(head.length, chunked=head.chunked)
        onward = head.onward[target.name] = _head(head, target, framing)
    return onward


def whole_request(head: RequestHead, target: Target, body: bytes) -> bytes:
    """Return the request with a body that is here whole."""
    if head.chunked:
        body = b"".join(chunk(body)) + LAST_CHUNK
    return (head.onward.get(target.name) or onward_head(head, target)) + body


def rewritten_request(head: RequestHead, target: Target, rewrite: Rewrite) -> bytes:
    """Return the request with another body; what is to be filtered of its answer comes uncompressed."""
    framing = request_lines(len(rewrite.body), chunked=False)
    return _head(head, target, framing, plain=rewrite.strip is not None) + rewrite.body


def _head(head: RequestHead, target: Target, framing: bytes, *, plain: bool = False) -> bytes:
    """Return the head for the upstream; ``plain`` asks for an answer that can be filtered."""
    endpoint = target.endpoint
    fields = forwarded(head.headers)
    host = endpoint.text().partition("://")[2].encode()
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
    return request_head(head.method, upstream_target(target, head.target), fields, framing)
