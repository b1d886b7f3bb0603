"""Seeing that the code in a ConfigMap was changed, within a second.

One watch for each namespace in which a pool names a ConfigMap, of names alone: what is in the
ConfigMaps is read by the pool's reconcile, and kept nowhere. A watch that begins anew tells every
name, so a change while it was down is seen as well; the pool's own look every minute is the last
resort.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Protocol

from perdure_operator.cluster import CONFIG_MAPS, WORKER_POOLS, ClusterError, ObjectKind
from perdure_operator.controllers.keys import Key
from perdure_operator.controllers.lanes import Sink
from perdure_operator.controllers.memories import PoolBook
from perdure_operator.controllers.workqueue import Backoff

logger = logging.getLogger(__name__)

MAX_NAMESPACES = 100
"""Watches at once; pools of further namespaces are looked at every minute."""

LOOK_INTERVAL = 1.0
"""Seconds between two looks at which namespaces have such pools."""

BACKOFF = Backoff(first=1.0, most=60.0)


class Names(Protocol):
    """What can be watched."""

    def watch_names(self, kind: ObjectKind, namespace: str) -> AsyncIterator[str]:
        """See :meth:`perdure_operator.cluster.api.KubernetesCluster.watch_names`."""


class CodeWatcher:
    """Has pools looked at whose ConfigMap was changed."""

    def __init__(self, cluster: Names, pools: PoolBook, queue: Sink) -> None:
        self._cluster, self._pools, self._queue = cluster, pools, queue
        self._tasks: dict[str, asyncio.Task[None]] = {}

    async def watch(self) -> None:
        """Watch wherever a pool names a ConfigMap, for ever."""
        try:
            while True:
                self._begin_and_end()
                await asyncio.sleep(LOOK_INTERVAL)
        finally:
            for task in self._tasks.values():
                task.cancel()
            await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    def _begin_and_end(self) -> None:
        wanted = sorted({ref.namespace for ref, _ in self._pools.with_code()})[:MAX_NAMESPACES]
        for namespace in self._tasks.keys() - set(wanted):
            self._tasks.pop(namespace).cancel()
        for namespace in wanted:
            if namespace not in self._tasks:
                self._tasks[namespace] = asyncio.create_task(self._watch_one(namespace))

    async def _watch_one(self, namespace: str) -> None:
        failures = 0
        while True:
            try:
                async for name in self._cluster.watch_names(CONFIG_MAPS, namespace):
                    failures = 0
                    self._notice(namespace, name)
            except ClusterError as error:
                failures += 1
                level = logging.WARNING if failures == 1 else logging.DEBUG
                logger.log(level, "code in ConfigMaps is not watched: %s", error)
            await asyncio.sleep(BACKOFF.delay(max(1, failures)))

    def _notice(self, namespace: str, name: str) -> None:
        for ref, code in self._pools.with_code():
            if ref.namespace == namespace and code == name:
                self._queue.add(Key(WORKER_POOLS, ref))
