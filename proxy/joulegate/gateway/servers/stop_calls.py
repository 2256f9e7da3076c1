"""The call that ends a request where closing its connection does not. Pure.

llama.cpp: a chat with ``X-Conversation-Id`` is generated on for a client that may come back; only ``DELETE
/v1/stream?conv_id=…`` ends it (tools/server of llama.cpp). AUTOMATIC1111 looks at no connection, and
``/sdapi/v1/interrupt`` ends whatever runs: it is called only while the job that runs came by this interface
and no other request of this gate is there (modules/api/api.py: such jobs are named ``scripts_txt2img``).
Jobs of ComfyUI, stable-diffusion.cpp and background answers outlive their exchange: nobody has left then.
"""

from collections.abc import Mapping
from urllib.parse import quote

from msgspec import Struct

from joulegate.gateway.http.call import ServerAnswer
from joulegate.gateway.servers.load_gauges import PROGRESS, document
from joulegate.model import ServerKind


class AbandonedRequest(Struct, frozen=True):
    """A request whose client has left."""

    path: str
    """Raw, as the upstream got it, without query."""
    fields: Mapping[bytes, bytes]
    """First value of each header field by its name in lower case."""


class StopCall(Struct, frozen=True):
    """What to send, and what to look at before."""

    method: str
    path: str
    body: bytes = b""
    before: str | None = None
    """``GET`` of this path must say that it is this request that runs, see ``runs``."""


_JOBS = {"/sdapi/v1/txt2img": "scripts_txt2img", "/sdapi/v1/img2img": "scripts_img2img"}


def stop(kind: str, left: AbandonedRequest) -> StopCall | None:
    """Return the call for this request, or ``None``: closing is all that can be done, and mostly enough."""
    conversation = left.fields.get(b"x-conversation-id")
    if kind == ServerKind.LLAMACPP and conversation:
        return StopCall("DELETE", f"/v1/stream?conv_id={quote(conversation.decode('latin-1'), safe='')}")
    if kind == ServerKind.A1111 and left.path in _JOBS:
        return StopCall("POST", "/sdapi/v1/interrupt", before=PROGRESS)
    return None


def runs(left: AbandonedRequest, answer: ServerAnswer) -> bool:
    """Whether AUTOMATIC1111's progress is that of a job like this one."""
    members = document(answer)
    state = members.get("state") if isinstance(members, dict) else None
    if not isinstance(state, dict) or not state.get("job_count"):
        return False
    return state.get("job") == _JOBS.get(left.path)
