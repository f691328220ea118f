"""Runs the HTTP door in the process of the doors: uvicorn inside our loop, without its signals."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator

import uvicorn
from starlette.applications import Starlette

from services.chassis.errors import ExitCode, Stop

CONNECTIONS_MAX = 10_000
"""Beyond them the server answers 503; the door refuses requests long before, with its reason."""
KEEP_ALIVE_S = 30
GRACE_S = 2


class HttpServer:
    """One ASGI application on one port. `serve` runs until `stop`."""

    def __init__(self, application: Starlette, host: str, port: int) -> None:
        config = uvicorn.Config(
            application,
            host=host,
            port=port,
            log_config=None,
            access_log=False,
            server_header=False,
            lifespan="off",
            limit_concurrency=CONNECTIONS_MAX,
            timeout_keep_alive=KEEP_ALIVE_S,
            timeout_graceful_shutdown=GRACE_S,
        )
        self._server = _Quiet(config)
        self._host, self._port = host, port
        self._ended = asyncio.Event()

    async def serve(self) -> None:
        """Answers requests; Stop when the port is taken."""
        try:
            await self._server.serve()
        except SystemExit:
            raise Stop(
                ExitCode.DEFECT,
                f"{self._host}:{self._port} is taken; set MUSTER_HTTP_PORT to a free port",
            ) from None
        self._ended.set()
        # The process ends as a whole: a task that returns would be taken for stopped work.
        await asyncio.Event().wait()

    async def stop(self) -> None:
        """Lets requests end, and takes no more."""
        self._server.should_exit = True
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(GRACE_S):
                await self._ended.wait()

    @property
    def is_listening(self) -> bool:
        return self._server.started


class _Quiet(uvicorn.Server):
    """The application owns the process's signals."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield
