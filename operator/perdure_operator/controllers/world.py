"""What every reconcile works with."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from pydantic import ValidationError

from perdure_operator.cluster import WORKER_POOLS, Cluster, Manifest, ObjectRef
from perdure_operator.controllers.applying import Applier
from perdure_operator.controllers.keys import Key
from perdure_operator.controllers.memories import (
    LatestBodies,
    PoolBook,
    QueueBook,
    Roster,
    ShownBook,
)
from perdure_operator.controllers.server import Server
from perdure_operator.model import WorkerPool

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """The collaborators and the memories."""

    cluster: Cluster
    server: Server
    applier: Applier
    now: Callable[[], datetime]
    latest: LatestBodies
    roster: Roster
    pools: PoolBook
    queues: QueueBook
    shown: ShownBook = field(default_factory=ShownBook)
    show_after: timedelta = timedelta(seconds=2)
    """An activity that is open for longer gets an Activity that shows it."""

    async def read(self, key: Key) -> Manifest | None:
        """Return the object as it is, as far as is known here."""
        return self.latest.take(key) or await self.cluster.get(key.kind, key.ref)

    async def find_pool(self, ref: ObjectRef) -> WorkerPool | None:
        """Return a WorkerPool, if there is one that can be read."""
        known = self.pools.get(ref)
        if known is not None:
            return known
        body = await self.cluster.get(WORKER_POOLS, ref)
        return None if body is None else read_pool(body)

    def forget(self, key: Key) -> None:
        """The object is over or gone."""
        self.latest.forget(key)
        self.roster.remove(key)
        self.shown.remove(key)
        self.pools.release(key)


def read_pool(body: Manifest) -> WorkerPool | None:
    """Return a WorkerPool from its manifest, or None when it cannot be read."""
    try:
        return WorkerPool.from_manifest(body)
    except ValidationError as error:
        logger.warning("WorkerPool %s is not usable: %s", body["metadata"].get("name"), error)
        return None
