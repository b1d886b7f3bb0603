"""ConfigMaps with code are watched where pools name them, and nowhere else; in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from perdure_operator.cluster import (
    CONFIG_MAPS,
    WORKER_POOLS,
    ForbiddenError,
    ObjectKind,
    ObjectRef,
    UnavailableError,
)
from perdure_operator.controllers.keys import Key
from perdure_operator.controllers.memories import PoolBook
from perdure_operator.controllers.pools.code_watching import CodeWatcher
from perdure_operator.controllers.workqueue import Schedule, WorkQueue
from perdure_operator.model import WorkerPool
from support.operator_scene import a_pool

pytestmark = pytest.mark.looptime


class Maps:
    """ConfigMaps that are told of by name; the names of a namespace come again in every watch."""

    def __init__(self, **names: list[str]) -> None:
        self.names = names
        self.begun: list[str] = []
        self.open: set[str] = set()
        self.error: Exception | None = None

    async def watch_names(self, kind: ObjectKind, namespace: str) -> AsyncIterator[str]:
        assert kind == CONFIG_MAPS
        self.begun.append(namespace)
        if self.error is not None:
            raise self.error
        self.open.add(namespace)
        try:
            for name in self.names.get(namespace, ()):
                yield name
            await asyncio.sleep(240)
        finally:
            self.open.discard(namespace)


class Stage:
    def __init__(self, maps: Maps) -> None:
        self.pools, self.queue = PoolBook(), WorkQueue[Key](Schedule())
        self.task = asyncio.create_task(CodeWatcher(maps, self.pools, self.queue).watch())

    def put(self, namespace: str, name: str, **spec: object) -> ObjectRef:
        ref = ObjectRef(namespace=namespace, name=name)
        self.pools.put(ref, WorkerPool.from_manifest(a_pool(name, **spec)))
        return ref

    async def end(self) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)


async def test_only_the_pools_that_name_a_changed_map_are_looked_at() -> None:
    stage = Stage(Maps(shop=["orders-code", "unrelated"]))
    ref = stage.put("shop", "orders", code={"configMap": "orders-code"})
    stage.put("shop", "other", code={"configMap": "other-code"})
    stage.put("shop", "image")
    await asyncio.sleep(2)

    assert await stage.queue.take() == Key(WORKER_POOLS, ref)
    assert len(stage.queue) == 0
    await stage.end()


async def test_a_namespace_is_watched_once_and_while_a_pool_in_it_has_code() -> None:
    maps = Maps()
    stage = Stage(maps)
    stage.put("bank", "image")
    one = stage.put("shop", "a", code={"configMap": "a"})
    two = stage.put("shop", "b", code={"configMap": "b"})
    await asyncio.sleep(5)
    assert maps.begun == ["shop"]

    stage.pools.remove(one)
    await asyncio.sleep(5)
    assert maps.open == {"shop"}
    stage.pools.remove(two)
    await asyncio.sleep(5)
    assert maps.open == set()
    await stage.end()


async def test_a_watch_that_ends_is_begun_anew_and_tells_what_was_missed() -> None:
    maps = Maps(shop=["code"])
    stage = Stage(maps)
    ref = stage.put("shop", "orders", code={"configMap": "code"})
    for _ in range(3):
        assert await stage.queue.take() == Key(WORKER_POOLS, ref)
        stage.queue.finish(Key(WORKER_POOLS, ref))
    assert maps.begun == ["shop"] * 3
    await stage.end()


@pytest.mark.parametrize(
    "error",
    [
        pytest.param(UnavailableError("watch", "away"), id="away"),
        pytest.param(ForbiddenError("watch", "no right"), id="forbidden"),
    ],
)
async def test_a_watch_that_fails_is_tried_more_and_more_seldom(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    maps = Maps()
    maps.error = error
    stage = Stage(maps)
    stage.put("shop", "orders", code={"configMap": "code"})
    await asyncio.sleep(600)

    assert 10 < len(maps.begun) < 20
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    await stage.end()
