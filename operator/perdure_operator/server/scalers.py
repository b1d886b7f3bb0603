"""How much work one task queue has, for scalers: ``GET /api/v1/queues/{namespace}/{queue}``.

KEDA's ``metrics-api`` scaler and whatever else can read a number out of JSON scale workers by it
(docs/how-to/scale-workers.md). One queue at a time is asked for, so that no metric needs a label
for each queue there is.
"""

from __future__ import annotations

from time import perf_counter
from typing import Any

import msgspec
from aiohttp import web

from perdure_operator.server.errors import VerbError
from perdure_operator.server.gates import Gate
from perdure_operator.server.host import Host
from perdure_operator.server.rights import rights_to_scale

PATH = "/api/v1/queues/{namespace}/{task_queue:.+}"


class QueueLoad(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What is answered."""

    namespace: str
    task_queue: str
    backlog: int
    """Tasks and queries that wait for a worker."""
    held: int
    """Tasks that workers work on."""
    demand: int
    """Both together: what workers are needed for. Divided by ``slots``, how many."""
    oldest_age_seconds: float
    """For how long the oldest of the backlog has waited; 0 when nothing waits."""
    workers: int
    """Workers that are connected and take tasks."""


class QueueLoads:
    """The endpoint."""

    def __init__(self, host: Host, gate: Gate) -> None:
        self._host = host
        self._gate = gate

    async def serve(self, request: web.Request) -> web.Response:
        """Tell the load of one queue; of one that nobody has heard of, that it has none."""
        began = perf_counter()
        try:
            answer: Any = await self._answer(request)
            status, outcome = 200, "ok"
        except VerbError as error:
            answer, status, outcome = error.response(), error.status, error.code
        self._host.metrics.verbs.labels("queue", outcome).observe(perf_counter() - began)
        body = msgspec.json.encode(answer)
        return web.Response(body=body, status=status, content_type="application/json")

    async def _answer(self, request: web.Request) -> QueueLoad:
        namespace, task_queue = request.match_info["namespace"], request.match_info["task_queue"]
        identity = await self._gate.identify(request.headers.get("Authorization"))
        if not self._host.is_ready:
            # No number rather than a wrong one: a scaler would take workers away.
            raise VerbError("Unavailable", "the server starts or stops: try again")
        if self._gate.asks:
            await self._gate.check(identity, rights_to_scale(namespace, task_queue))
        queue = self._host.dispatcher.describe_queue((namespace, task_queue))
        waited = 0 if queue.oldest is None else self._host.now() - queue.oldest
        return QueueLoad(
            namespace=namespace,
            task_queue=task_queue,
            backlog=queue.backlog,
            held=queue.held,
            demand=queue.backlog + queue.held,
            oldest_age_seconds=max(0, waited) / 1000,
            workers=sum(not each.draining for each in queue.workers),
        )
