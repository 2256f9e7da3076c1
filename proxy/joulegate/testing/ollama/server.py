"""The server as tests start it: it listens, and holds the connections to llama.cpp."""

from types import TracebackType
from typing import Self

from aiohttp import ClientSession, web

from joulegate.testing.ollama.routes import Routes
from joulegate.testing.ollama.runner import Runner


class OllamaServer:
    """Serves one model, and one as if it were elsewhere: ``async with OllamaServer(…) as server: …``."""

    def __init__(self, upstream: str, model: str, *, remote: str | None = None, port: int = 0) -> None:
        self._upstream = upstream
        self._model = model
        self._remote = remote
        self._port = port
        self._session: ClientSession | None = None
        self._listening: web.AppRunner | None = None

    @property
    def url(self) -> str:
        """Where it listens."""
        addresses = self._listening.addresses if self._listening else []
        return f"http://127.0.0.1:{addresses[0][1]}" if addresses else ""

    async def __aenter__(self) -> Self:
        """Listen."""
        self._session = ClientSession(self._upstream)
        routes = Routes(Runner(self._session), self._model, remote=self._remote)
        self._listening = web.AppRunner(routes.application(), handler_cancellation=True, access_log=None)
        await self._listening.setup()
        await web.TCPSite(self._listening, "127.0.0.1", self._port).start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close everything."""
        if self._listening:
            await self._listening.cleanup()
        if self._session:
            await self._session.close()
