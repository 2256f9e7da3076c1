"""LocalAI's own routes (https://github.com/mudler/LocalAI, core/http/routes), each with and without ``/v1``.

OpenAI's, Anthropic's and Ollama's routes of the same server belong to those protocols.
"""

import re

from msgspec.structs import replace

from joulegate.framing import Found
from joulegate.framing.values import decode, derived, word
from joulegate.model import Asked, Task, TaskFacts, WorkClass
from joulegate.observing import Listener
from joulegate.ports import About, Headers, Observer, Route

_SPEECH = Route("localai.speech", Task.SPEECH_SYNTHESIS)
_WORK = {
    "tts": _SPEECH,
    "sound-generation": Route("localai.sound"),
    "vad": Route("localai.voice_activity"),
    "detection": Route("localai.detection", Task.OBJECT_DETECTION),
    "audio/transformations": Route("localai.audio"),
    "audio/transform": Route("localai.audio"),
    "video": Route("localai.video", Task.VIDEO_GENERATION),
}
_PEOPLE = re.compile(r"(?:face|voice)/(?:verify|analyze|embed|register|identify)")
_FACES = Route("localai.recognition")
_VOICE = re.compile(r"text-to-speech/[^/]+")
_ADMIN = Route("localai.admin", work=WorkClass.ADMIN, reads_body=False)
_PROBE = Route("localai.probe", work=WorkClass.PROBE, reads_body=False)
_CONTROL = re.compile(
    r"(?:face|voice)/forget|stores/(?:set|delete|get|find)|backend/shutdown"
    r"|models/(?:apply|delete/[^/]+|import|import-uri|reload)|backends/(?:apply|delete/[^/]+|upgrade/[^/]+)"
)
_READ = re.compile(r"backend/monitor|backends(?:/.+)?|models/(?:available|galleries|jobs(?:/.+)?)|system")
_DISCOVERY = "/.well-known/localai.json"


class Plugin:
    """Knows what LocalAI has beside the languages of others."""

    about = About(
        servers=("LocalAI",),
        kinds=("localai",),
        routes=(
            "POST /tts", "POST /v1/sound-generation", "POST /vad", "POST /v1/detection",
            "POST /v1/face/verify", "POST /audio/transformations", "POST /video", "POST /models/apply",
            "GET /backend/monitor",
        ),
        usage="none; of speech the characters are counted",
    )  # fmt: skip

    def matches(self, method: str, path: str) -> Route | None:
        """Return the route, or ``None`` if LocalAI has none of its own there."""
        rest = path.removeprefix("/v1").strip("/")
        if method == "POST":
            if _VOICE.fullmatch(rest):
                return _SPEECH
            people = _FACES if _PEOPLE.fullmatch(rest) else None
            return _WORK.get(rest) or people or (_ADMIN if _CONTROL.fullmatch(rest) else None)
        return _PROBE if method == "GET" and (path == _DISCOVERY or _READ.fullmatch(rest)) else None

    def observer(self, route: Route, headers: Headers) -> Observer:
        """Return a fresh listener for one exchange."""
        return (LocalaiSpeech if route == _SPEECH else Listener)(headers, model=route.model)


class LocalaiSpeech(Listener):
    """``/tts`` and ElevenLabs' ``/v1/text-to-speech/{voice}``: text in, sound out."""

    wishes = frozenset({"model", "model_id", "input", "text"})

    def wish(self, found: Found) -> Asked:
        """Return the model, which ElevenLabs calls ``model_id``."""
        members = found.members
        return Asked(model=word(members.get("model")) or word(members.get("model_id")))

    def facts(self) -> TaskFacts:
        """Return the characters to speak, which is what there is to count."""
        members = self.request_found().members
        text = decode(members.get("input") or members.get("text") or b"null", str)
        counted = derived(len(text)) if text is not None and self.answered else None
        return replace(self.accounts.facts, characters=counted)
