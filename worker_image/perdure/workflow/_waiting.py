"""Waiting for conditions and for several things at once.

``asyncio.wait`` and ``asyncio.as_completed`` keep what they are given in sets; the versions here
keep the order given, so that code which goes through the results does so in the same order always.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from datetime import timedelta
from typing import Any, TypeVar

from perdure.workflow._runtime import current

T = TypeVar("T")
FutureT = TypeVar("FutureT", bound="asyncio.Future[Any]")


async def wait_condition(
    fn: Callable[[], bool],
    *,
    timeout: timedelta | float | None = None,
    timeout_summary: str | None = None,
) -> None:
    """Wait until ``fn()`` is true; it is asked whenever something in the run has changed.

    Args:
        fn: Looks, and changes nothing.
        timeout: How long to wait at most, on a durable timer.
        timeout_summary: What the timer is for; shown with it.

    Raises:
        TimeoutError: the time is over.
    """
    await current().wait_condition(fn, timeout=timeout, timeout_summary=timeout_summary or "")


async def wait(
    fs: Iterable[FutureT],
    *,
    timeout: float | None = None,
    return_when: str = asyncio.ALL_COMPLETED,
) -> tuple[list[FutureT], list[FutureT]]:
    """Like :func:`asyncio.wait`, but returns (done, pending) as lists in the order given."""
    if asyncio.isfuture(fs) or asyncio.iscoroutine(fs):
        raise TypeError(f"expect a list of futures, not {type(fs).__name__}")
    futures = list(dict.fromkeys(fs))
    if not futures:
        raise ValueError("Set of Tasks/Futures is empty.")
    if any(not asyncio.isfuture(each) for each in futures):
        raise TypeError("give tasks or handles: wrap coroutines in asyncio.create_task")
    if return_when not in (
        asyncio.ALL_COMPLETED,
        asyncio.FIRST_COMPLETED,
        asyncio.FIRST_EXCEPTION,
    ):
        raise ValueError(f"Invalid return_when value: {return_when}")
    await _wait_until(futures, return_when, timeout)
    return [each for each in futures if each.done()], [each for each in futures if not each.done()]


async def _wait_until(
    futures: Sequence[asyncio.Future[Any]], return_when: str, timeout: float | None
) -> None:
    loop = asyncio.get_running_loop()
    waiter: asyncio.Future[None] = loop.create_future()
    missing = len(futures)

    def release() -> None:
        if not waiter.done():
            waiter.set_result(None)

    def count(future: asyncio.Future[Any]) -> None:
        nonlocal missing
        missing -= 1
        if (
            missing == 0
            or return_when == asyncio.FIRST_COMPLETED
            or (return_when == asyncio.FIRST_EXCEPTION and _has_failed(future))
        ):
            release()

    handle = None if timeout is None else loop.call_later(timeout, release)
    for each in futures:
        each.add_done_callback(count)
    try:
        await waiter
    finally:
        if handle is not None:
            handle.cancel()
        for each in futures:
            each.remove_done_callback(count)


def _has_failed(future: asyncio.Future[Any]) -> bool:
    return not future.cancelled() and future.exception() is not None


def as_completed(
    fs: Sequence[Awaitable[T]], *, timeout: float | None = None
) -> Iterator[Awaitable[T]]:
    """Like :func:`asyncio.as_completed`, but what ends together comes in the order given."""
    if asyncio.isfuture(fs) or asyncio.iscoroutine(fs):
        raise TypeError(f"expect a list of awaitables, not {type(fs).__name__}")
    done: asyncio.Queue[asyncio.Future[T] | None] = asyncio.Queue()
    loop = asyncio.get_running_loop()
    waited: dict[asyncio.Future[T], None] = {asyncio.ensure_future(each): None for each in fs}

    def finish(future: asyncio.Future[T]) -> None:
        del waited[future]
        done.put_nowait(future)
        if not waited and handle is not None:
            handle.cancel()

    def give_up() -> None:
        for future in waited:
            future.remove_done_callback(finish)
            done.put_nowait(None)
        waited.clear()

    async def next_result() -> T:
        future = await done.get()
        if future is None:
            raise TimeoutError
        return future.result()

    handle = loop.call_later(timeout, give_up) if waited and timeout is not None else None
    for each in waited:
        each.add_done_callback(finish)
    for _ in range(len(waited)):
        yield next_result()
