"""AUTOMATIC1111 and Forge (``modules/api/api.py``).

It looks at no connection, and its interrupt ends whatever runs. It is called only while the job that runs
came by this interface and no other request of this gate is there: such jobs are named ``scripts_txt2img``.
"""

from collections.abc import Mapping

from joulegate.ports.servers import (
    AbandonedRequest,
    Leaving,
    Members,
    ServerAnswer,
    Sign,
    StopCall,
    Work,
    text,
)

_JOBS: Mapping[str, str] = {
    "/sdapi/v1/txt2img": "scripts_txt2img",
    "/sdapi/v1/img2img": "scripts_img2img",
}


class Plugin:
    """How joulegate deals with this server."""

    title = "AUTOMATIC1111"
    work: Work = "image"
    question = "/sdapi/v1/options"
    gauge = "/sdapi/v1/progress?skip_current_image=true"
    leaving = Leaving(
        "works on",
        "`POST /sdapi/v1/interrupt`, only while a job of this interface runs and no other request of "
        "the gate is there",
        "`GET /sdapi/v1/progress`",
    )

    def recognise(self, members: Members) -> Sign | None:
        """Return what the answer shows, or ``None`` if it is another server's."""
        if "sd_model_checkpoint" not in members:
            return None
        model = text(members["sd_model_checkpoint"])
        return Sign(models=(model,) if model else ())

    def running(self, answer: ServerAnswer) -> int | None:
        """Return 1 while a job runs; ``None`` if the answer does not tell."""
        jobs = _state(answer).get("job_count")
        return int(jobs > 0) if isinstance(jobs, int) else None

    def stop(self, left: AbandonedRequest) -> StopCall | None:
        """Return the interrupt for a request that draws."""
        return StopCall("POST", "/sdapi/v1/interrupt", before=self.gauge) if left.path in _JOBS else None

    def runs(self, left: AbandonedRequest, answer: ServerAnswer) -> bool:
        """Whether the job that runs is one like this."""
        state = _state(answer)
        return bool(state.get("job_count")) and state.get("job") == _JOBS.get(left.path)

    def error(self, status: int, code: str, message: str) -> object:
        """Return an error as this server's clients read it."""
        del status
        return {"error": code, "detail": message, "body": "", "errors": message}


def _state(answer: ServerAnswer) -> Members:
    state = answer.members().get("state")
    return state if isinstance(state, dict) else {}
