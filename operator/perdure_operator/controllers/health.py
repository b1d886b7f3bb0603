"""The operator's own HTTP port: is it alive, and what has it counted.

Alive means that the event loop turns and that none of the tasks that must never end has ended.
A backlog, or a server that is away, is no reason for a restart.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST

from perdure_operator.controllers.metrics import Metrics


@asynccontextmanager
async def serve_health(
    port: int, metrics: Metrics, is_alive: Callable[[], bool]
) -> AsyncIterator[int]:
    """Serve ``/healthz`` and ``/metrics`` on every address; gives the port."""
    app = web.Application()

    async def healthz(_: web.Request) -> web.Response:
        alive = is_alive()
        return web.Response(
            text="ok" if alive else "a task has ended", status=200 if alive else 500
        )

    async def show_metrics(_: web.Request) -> web.Response:
        return web.Response(body=metrics.render(), headers={"Content-Type": CONTENT_TYPE_LATEST})

    app.router.add_get("/healthz", healthz)
    app.router.add_get("/metrics", show_metrics)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        site = web.TCPSite(runner, port=port)
        await site.start()
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()
