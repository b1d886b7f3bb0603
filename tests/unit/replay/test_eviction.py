from __future__ import annotations

import asyncio
import gc
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest

from perdure import workflow
from perdure.replay import RunEvictedError
from support.histories import RunDriver, new_instance

LIMIT = timedelta(seconds=3)


def running(code: Callable[[], Awaitable[Any]]) -> RunDriver:
    @workflow.defn(name="Evicted")
    class Evicted:
        @workflow.run
        async def run(self) -> Any:
            return await code()

    return RunDriver(Evicted).play(timers=False)


def test_code_that_is_dropped_asks_for_nothing_more() -> None:
    tried: list[type[BaseException]] = []
    went_on: list[str] = []

    async def code() -> None:
        try:
            await asyncio.sleep(100)
        except asyncio.CancelledError:
            went_on.append("it is not cancelled")
        except Exception:  # noqa: BLE001 - that is the point
            went_on.append("it is no exception")
        finally:
            for ask in (
                lambda: workflow.start_activity("x", start_to_close_timeout=LIMIT),
                workflow.random,
                workflow.uuid4,
                lambda: workflow.step(print).send(None),
                lambda: asyncio.sleep(1).send(None),
                lambda: workflow.wait_condition(bool).send(None),
            ):
                try:
                    ask()
                except BaseException as error:  # noqa: BLE001 - that is the point
                    tried.append(type(error))

    run = running(code)
    before = list(run.events)
    run.evict()

    assert went_on == []
    assert tried == [RunEvictedError] * 6
    assert run.events == before


def test_every_task_is_ended_and_none_complains(caplog: pytest.LogCaptureFixture) -> None:
    ended = []

    async def nap(number: int) -> None:
        try:
            await asyncio.sleep(100)
        finally:
            ended.append(number)

    async def code() -> None:
        async with asyncio.timeout(1000), asyncio.TaskGroup() as group:
            for number in range(3):
                group.create_task(nap(number))
            await asyncio.gather(nap(3), asyncio.wait_for(nap(4), 50))

    run = running(code)
    run.evict()
    del run
    gc.collect()

    assert sorted(ended) == [0, 1, 2, 3, 4]
    assert caplog.text == ""


def test_cleaning_up_with_tasks_leaves_no_coroutine_behind() -> None:
    ended = []

    async def code() -> None:
        try:
            await asyncio.sleep(100)
        finally:
            try:
                await asyncio.gather(workflow.step(print), workflow.step(print))
            finally:
                await asyncio.shield(workflow.sleep(1))
                ended.append("never")

    running(code).evict()
    gc.collect()

    assert ended == []


def test_code_that_clings_to_life_is_ended_all_the_same() -> None:
    clung = []

    async def code() -> None:
        while len(clung) < 5:
            try:
                await asyncio.Event().wait()
            except BaseException as error:  # noqa: BLE001 - that is the point
                clung.append(error)

    running(code).evict()

    assert len(clung) == 5


def test_a_task_that_has_not_begun_never_begins() -> None:
    begun = []

    async def code() -> None:
        async def never() -> None:
            begun.append(1)

        await asyncio.sleep(1)
        asyncio.create_task(never())  # noqa: RUF006 - the loop keeps it
        raise KeyError("the task fails before the other begins")

    run = running(code)
    run.advance(1)
    assert run.instance is not None
    run.instance._run.loop.drain = lambda: None  # type: ignore[method-assign]
    run.activate()
    run.evict()

    assert begun == []


def test_cleaning_up_that_fails_disturbs_nobody() -> None:
    async def code() -> None:
        try:
            await asyncio.sleep(100)
        finally:
            raise ValueError("while cleaning up")

    running(code).evict()


def test_a_generator_that_was_left_half_way_is_not_run() -> None:
    ran = []

    async def code() -> None:
        async def numbers() -> AsyncIterator[int]:
            try:
                yield 1
                yield 2
            finally:
                ran.append("asked for something")
                await workflow.step(print)

        generator = numbers()
        await anext(generator)
        await asyncio.sleep(100)
        await generator.aclose()

    run = running(code)
    run.evict()
    del run
    gc.collect()

    assert ran == []


def test_the_logger_is_silent_while_code_is_dropped(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)

    async def code() -> None:
        try:
            await asyncio.sleep(100)
        finally:
            workflow.logger.warning("cleaning up")

    running(code).evict()

    assert caplog.text == ""


def test_closing_twice_is_harmless() -> None:
    run = running(lambda: asyncio.sleep(100))
    assert run.instance is not None
    run.instance.close()
    run.instance.close()


def test_an_instance_that_was_never_told_anything_can_be_closed() -> None:
    new_instance(running(lambda: asyncio.sleep(1))).close()


def test_the_outer_loop_is_the_running_one_again_after_an_error() -> None:
    async def code() -> None:
        raise KeyError("bug")

    def outer() -> object:
        return asyncio.events._get_running_loop()

    before = outer()
    with pytest.raises(Exception, match="bug"):
        running(code)

    assert outer() is before
