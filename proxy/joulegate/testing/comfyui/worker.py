"""The worker: takes prompts from the queue and executes their graphs, one after the other."""

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from msgspec import Struct

from joulegate import clock
from joulegate.testing.comfyui.nodes import NODES, OUTPUTS, Interrupted, Tools

Graph = Mapping[str, Any]
Send = Callable[[str | None, str, object], None]
"""Sends an event, or with an empty name a preview, to the socket of a client; ``None`` is everybody."""


class Prompt(Struct):
    """One item of the queue."""

    number: float
    id: str
    graph: Graph
    extra: dict[str, Any]

    def item(self) -> list[object]:
        """Return it as ``GET /queue`` shows it."""
        return [self.number, self.id, self.graph, self.extra, outputs_of(self.graph)]


class Worker:
    """A queue, what runs, and the history; thread-safe."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._condition = threading.Condition()
        self._interrupt = threading.Event()
        self._cache: dict[str, Any] = {}
        self._messages: list[tuple[str, dict[str, Any]]] = []
        self._client: str | None = None
        self.pending: list[Prompt] = []
        self.running: Prompt | None = None
        self.history: dict[str, dict[str, Any]] = {}
        threading.Thread(target=self._work, name="worker", daemon=True).start()

    def put(self, prompt: Prompt) -> None:
        """Queue a prompt."""
        with self._condition:
            self.pending.append(prompt)
            self.pending.sort(key=lambda one: one.number)
            self._condition.notify()
        self._tell_queue()

    def remove(self, ids: set[str]) -> bool:
        """Accept prompts out of the queue; return whether one was there."""
        with self._condition:
            before = len(self.pending)
            self.pending = [prompt for prompt in self.pending if prompt.id not in ids]
            removed = len(self.pending) < before
        if removed:
            self._tell_queue()
        return removed

    def interrupt(self, id_: str | None = None) -> bool:
        """Stop what runs, if it is this one."""
        with self._condition:
            if self.running is None or id_ not in (None, self.running.id):
                return False
            self._interrupt.set()
            return True

    def remaining(self) -> int:
        """Return the prompts that wait or run."""
        with self._condition:
            return len(self.pending) + (self.running is not None)

    def _tell_queue(self) -> None:
        self._send(None, "status", {"status": {"exec_info": {"queue_remaining": self.remaining()}}})

    def _work(self) -> None:
        while True:
            with self._condition:
                self._condition.wait_for(lambda: self.pending)
                prompt = self.running = self.pending.pop(0)
                self._interrupt.clear()
            self._execute(prompt)
            if self._client is not None:
                self._send(self._client, "executing", {"node": None, "prompt_id": prompt.id})
            self._tell_queue()

    def _execute(self, prompt: Prompt) -> None:
        self._client, self._messages = prompt.extra.get("client_id"), []
        self._message(prompt, "execution_start")
        keys = {name: self._key(prompt.graph, name) for name in prompt.graph}
        cached = [name for name, key in keys.items() if key in self._cache]
        self._message(prompt, "execution_cached", nodes=cached)
        executed: list[str] = []
        results: dict[str, Any] = {}
        status = "error"
        try:
            for name in order(prompt.graph):
                if keys[name] not in self._cache:
                    self._cache[keys[name]] = self._node(prompt, name, keys)
                    executed.append(name)
                if prompt.graph[name]["class_type"] in OUTPUTS:
                    results[name] = self._show(prompt, name, self._cache[keys[name]])
            self._message(prompt, "execution_success")
            status = "success"
        except Interrupted as stop:
            self._message(prompt, "execution_interrupted", node_id=str(stop), executed=executed)
        except Exception as problem:
            self._message(prompt, "execution_error", exception_message=str(problem), executed=executed)
        self._keep(prompt, status, results)

    def _keep(self, prompt: Prompt, status: str, results: Mapping[str, Any]) -> None:
        with self._condition:
            self.running = None
            self.history[prompt.id] = {
                "prompt": prompt.item(),
                "outputs": results,
                "status": {
                    "status_str": status,
                    "completed": status == "success",
                    "messages": list(self._messages),
                },
            }

    def _node(self, prompt: Prompt, name: str, keys: Mapping[str, str]) -> Any:
        node = prompt.graph[name]
        if self._client is not None:
            told = {"node": name, "display_node": name, "prompt_id": prompt.id}
            self._send(self._client, "executing", told)
        inputs = {
            key: self._cache[keys[value[0]]] if isinstance(value, list) else value
            for key, value in node["inputs"].items()
        }

        def progress(step: int, steps: int, preview: bytes | None) -> None:
            if self._client is not None:
                told = {"value": step, "max": steps, "prompt_id": prompt.id, "node": name}
                self._send(self._client, "progress", told)
                self._send(self._client, "", preview)
            if self._interrupt.is_set():
                raise Interrupted(name)

        return NODES[node["class_type"]](inputs, Tools(progress))

    def _show(self, prompt: Prompt, name: str, images: list[bytes]) -> object:
        files = [
            {"filename": f"{prompt.id}_{place}.png", "subfolder": "", "type": "output", "size": len(image)}
            for place, image in enumerate(images)
        ]
        output = {"images": files}
        if self._client is not None:
            told = {"node": name, "display_node": name, "output": output, "prompt_id": prompt.id}
            self._send(self._client, "executed", told)
        return output

    def _message(self, prompt: Prompt, kind: str, **data: object) -> None:
        """Record a message with its time, and send it to the client, if it said who it is."""
        told = {"prompt_id": prompt.id, **data, "timestamp": clock.wall() // 1_000_000}
        self._messages.append((kind, told))
        if self._client is not None or kind == "execution_interrupted":
            self._send(self._client, kind, told)
        time.sleep(0)

    def _key(self, graph: Graph, name: str) -> str:
        """Return what the result of a node depends on: its class, its inputs, and those of all before it."""
        node = graph[name]
        inputs = {
            key: self._key(graph, value[0]) if isinstance(value, list) else value
            for key, value in node["inputs"].items()
        }
        return json.dumps([node["class_type"], inputs], sort_keys=True)


def order(graph: Graph) -> Iterator[str]:
    """Return the nodes that the outputs need, each after those that it needs."""
    done: set[str] = set()

    def visit(name: str) -> Iterator[str]:
        if name in done:
            return
        done.add(name)
        for value in graph[name]["inputs"].values():
            if isinstance(value, list):
                yield from visit(value[0])
        yield name

    for name in outputs_of(graph):
        yield from visit(name)


def outputs_of(graph: Graph) -> list[str]:
    """Return the names of the nodes whose results a prompt is for."""
    return [name for name, node in graph.items() if node["class_type"] in OUTPUTS]
