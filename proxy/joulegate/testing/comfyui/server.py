"""The wire: routes, sockets, and what each of them answers."""

import asyncio
import json
import struct
import uuid
from collections.abc import Mapping
from typing import Any

from aiohttp import web

from joulegate import clock
from joulegate.testing.comfyui.nodes import NODES
from joulegate.testing.comfyui.worker import Graph, Prompt, Worker, outputs_of

PREVIEW, PNG = 1, 2
"""``BinaryEventTypes.PREVIEW_IMAGE``, and the form of the picture in it."""


class Server:
    """One server, on the loop that runs it."""

    def __init__(self, *, jobs_api: bool = True) -> None:
        self._loop = asyncio.get_running_loop()
        self._sockets: dict[str, web.WebSocketResponse] = {}
        self._outbox: asyncio.Queue[tuple[str | None, str, Any]] = asyncio.Queue()
        self._number = 0
        self._jobs_api = jobs_api
        self.worker = Worker(self._send)

    def application(self) -> web.Application:
        """Return the application: every route with and without ``/api``."""
        app = web.Application(client_max_size=64 << 20)
        routes = [
            web.get("/ws", self.websocket),
            web.post("/prompt", self.prompt),
            web.get("/queue", self.queue),
            web.post("/queue", self.change_queue),
            web.get("/history", self.history),
            web.get("/history/{id}", self.history),
            web.post("/interrupt", self.interrupt),
            web.get("/system_stats", self.system_stats),
        ]
        app.add_routes(routes)
        app.add_routes([web.route(one.method, f"/api{one.path}", one.handler) for one in routes])
        if self._jobs_api:
            app.add_routes([web.get("/api/jobs", self.jobs), web.get("/api/jobs/{id}", self.job)])
        app.cleanup_ctx.append(self._publishing)
        return app

    async def prompt(self, request: web.Request) -> web.Response:
        """Accept a prompt, or say what is wrong with it."""
        body = await request.json()
        graph, id_ = body.get("prompt"), body.get("prompt_id") or str(uuid.uuid4())
        problem = _problem(graph)
        if problem:
            error = {"type": "invalid_prompt", "message": problem, "details": "", "extra_info": {}}
            return web.json_response({"error": error, "node_errors": {}}, status=400)
        extra = dict(body.get("extra_data", {}))
        if "client_id" in body:
            extra["client_id"] = body["client_id"]
        extra["create_time"] = clock.wall() // 1_000_000
        number, self._number = self._number, self._number + 1
        self.worker.put(Prompt(number, id_, graph, extra))
        return web.json_response({"prompt_id": id_, "number": number, "node_errors": {}})

    async def queue(self, request: web.Request) -> web.Response:
        """Show what runs and what waits."""
        del request
        running = self.worker.running
        return web.json_response(
            {
                "queue_running": [running.item()] if running else [],
                "queue_pending": [prompt.item() for prompt in self.worker.pending],
            }
        )

    async def change_queue(self, request: web.Request) -> web.Response:
        """Accept prompts out of it."""
        body = await request.json()
        everything = {prompt.id for prompt in self.worker.pending} if body.get("clear") else set()
        self.worker.remove(everything | set(body.get("delete", ())))
        return web.Response()

    async def interrupt(self, request: web.Request) -> web.Response:
        """Stop what runs, or only if it is the prompt that the client means."""
        body = await request.json() if request.body_exists else {}
        self.worker.interrupt(body.get("prompt_id"))
        return web.Response()

    async def history(self, request: web.Request) -> web.Response:
        """Show what has ended; of what runs and of what nobody knows there is nothing."""
        id_, history = request.match_info.get("id"), self.worker.history
        shown = history if id_ is None else {id_: history[id_]} if id_ in history else {}
        return web.json_response(shown)

    async def jobs(self, request: web.Request) -> web.Response:
        """List everything."""
        del request
        worker = self.worker
        ids = [
            *worker.history,
            *([worker.running.id] if worker.running else []),
            *(p.id for p in worker.pending),
        ]
        return web.json_response({"jobs": [self._job(id_) for id_ in ids]})

    async def job(self, request: web.Request) -> web.Response:
        """Show one."""
        found = self._job(request.match_info["id"])
        return web.json_response(found or {"error": "Job not found"}, status=200 if found else 404)

    async def system_stats(self, request: web.Request) -> web.Response:
        """Return who this is."""
        del request
        return web.json_response({"system": {"os": "posix", "comfyui_version": "0.9.2"}, "devices": []})

    async def websocket(self, request: web.Request) -> web.WebSocketResponse:
        """Serve a client's socket; a second one with the same id takes the place of the first."""
        ws = web.WebSocketResponse()
        await ws.prepare(request)
        sid = request.query.get("clientId") or uuid.uuid4().hex
        self._sockets[sid] = ws
        status = {"status": {"exec_info": {"queue_remaining": self.worker.remaining()}}, "sid": sid}
        await ws.send_json({"type": "status", "data": status})
        async for _ in ws:
            pass
        if self._sockets.get(sid) is ws:
            del self._sockets[sid]
        return ws

    def _job(self, id_: str) -> dict[str, Any] | None:
        worker = self.worker
        if (entry := worker.history.get(id_)) is not None:
            return _ended(id_, entry)
        if worker.running and worker.running.id == id_:
            return {"id": id_, "status": "in_progress", "outputs_count": 0}
        waits = any(prompt.id == id_ for prompt in worker.pending)
        return {"id": id_, "status": "pending", "outputs_count": 0} if waits else None

    def _send(self, client: str | None, kind: str, data: object) -> None:
        """Accept an event from the worker's thread."""
        self._loop.call_soon_threadsafe(self._outbox.put_nowait, (client, kind, data))

    async def _publishing(self, app: web.Application) -> Any:
        del app
        task = self._loop.create_task(self._publish())
        yield
        task.cancel()

    async def _publish(self) -> None:
        while True:
            client, kind, data = await self._outbox.get()
            to = list(self._sockets.values()) if client is None else [self._sockets.get(client)]
            for ws in to:
                if ws is None or ws.closed:
                    continue
                if kind:
                    await ws.send_str(json.dumps({"type": kind, "data": data}))
                elif data is not None:
                    await ws.send_bytes(struct.pack(">II", PREVIEW, PNG) + data)


def _problem(graph: Graph | None) -> str | None:
    if not isinstance(graph, Mapping):
        return "No prompt provided"
    unknown = [node["class_type"] for node in graph.values() if node["class_type"] not in NODES]
    if unknown:
        return f"Node type {unknown[0]} does not exist"
    return None if outputs_of(graph) else "Prompt has no outputs"


def _ended(id_: str, entry: Mapping[str, Any]) -> dict[str, Any]:
    messages = dict(entry["status"]["messages"])
    end = next((kind for kind in ("success", "error", "interrupted") if f"execution_{kind}" in messages), "")
    return {
        "id": id_,
        "status": {"success": "completed", "error": "failed"}.get(end, "cancelled"),
        "execution_start_time": messages["execution_start"]["timestamp"],
        "execution_end_time": messages.get(f"execution_{end}", {}).get("timestamp"),
        "outputs_count": len(entry["outputs"]),
        "outputs": entry["outputs"],
        "execution_status": entry["status"],
    }
