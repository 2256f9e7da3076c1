"""Which plug-in a server belongs to, whatever plug-ins there are."""

import json

from joulegate.gateway.servers.recognition import every, in_order, recognise, work_of
from joulegate.ports.servers import Members, ServerAnswer, Sign, Work


class Original:
    """A server that others imitate."""

    title = "Original"
    work: Work = "llm"
    question = "/version"

    def recognise(self, members: Members) -> Sign | None:
        return Sign("1") if "version" in members else None


class Copy(Original):
    """Answers as the original does, and shows what it is elsewhere."""

    title = "Copy"
    question = "/copy"
    imitates: tuple[str, ...] = ("original",)


class Circular(Original):
    """Is said to imitate its own copy."""

    imitates = ("copy",)


class Broken(Original):
    """A plug-in with a mistake."""

    def recognise(self, members: Members) -> Sign | None:
        raise KeyError("no such member")


async def answers(path: str) -> ServerAnswer:
    status = 200 if path in {"/version", "/copy"} else 404
    return ServerAnswer(status, {}, json.dumps({"version": "7"}).encode())


async def test_who_imitates_is_asked_first() -> None:
    """A server that answers as another one does is told by its own sign, in whatever order they stand."""
    for servers in ({"original": Original(), "copy": Copy()}, {"copy": Copy(), "original": Original()}):
        assert list(in_order(servers)) == ["copy", "original"]
        found = await recognise(answers, in_order(servers))
        assert (found.kind, found.text()) == ("copy", "Copy 1")


async def test_a_plugin_that_raises_hides_no_other() -> None:
    """A mistake in one plug-in costs neither the look nor the gate: the next one is asked."""
    found = await recognise(answers, {"broken": Broken(), "original": Original()})
    assert found.kind == "original"


def test_a_circle_of_imitation_loses_no_server() -> None:
    """Two plug-ins that name each other are both asked."""
    assert sorted(in_order({"original": Circular(), "copy": Copy()})) == ["copy", "original"]


def test_the_kind_says_what_work_there_is() -> None:
    """The plug-in knows; ``llm`` and ``image`` may be configured themselves; others do either."""
    assert [work_of(kind) for kind in ("vllm", "comfyui", "triton")] == ["llm", "image", "auto"]
    assert [work_of(kind) for kind in ("llm", "image", "auto", "new")] == ["llm", "image", "auto", "auto"]
    assert every()["vllm"].title == "vLLM"
