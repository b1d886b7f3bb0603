"""What workflow code holds of a batch: one handle for the whole fan-out.

A :class:`Batch` is a future of the list of all results, so whatever takes futures takes it. Its
results come in portions, and can be gone through before the last is there, in the order of the
items or in the order in which they end. The run that makes it feeds it
(:mod:`perdure.replay._batches`).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, TypeVar

from perdure.workflow._requests import Handle

T = TypeVar("T")


class BatchProgress(NamedTuple):
    """How far a batch is, as far as the run has been told."""

    total: int
    succeeded: int
    failed: int

    @property
    def closed(self) -> int:
        """How many items have ended."""
        return self.succeeded + self.failed


@dataclass(frozen=True, slots=True)
class BatchItem(Generic[T]):
    """An item that has ended."""

    index: int
    """Its place among the items, from 0."""
    result: T
    """What stands for it in the list of results."""


class Batch(Handle[list[T]]):
    """A started batch: await it for the list of its results, in the order of the items.

    ``async for result in batch`` gives the same results one by one, each as soon as it and those
    before it are there; :meth:`as_completed` gives them as they come. An item that failed, and was
    tolerated, is its :class:`~perdure.exceptions.ActivityError` in the list and in both iterations.
    A batch that fails raises :class:`~perdure.exceptions.ActivityError` from each of them.

    Cancelling it (:meth:`cancel`, or cancelling the task that awaits it or goes through it) cancels
    its open items, after its :class:`ActivityCancellationType`.
    """

    def __init__(
        self,
        *,
        loop: asyncio.AbstractEventLoop,
        key: int,
        seq: int,
        total: int,
        tolerated_failures: int,
        on_cancel: Callable[[Handle[Any], Any | None], bool],
        on_stream: Callable[[], None],
    ) -> None:
        super().__init__(loop=loop, key=key, seq=seq, on_cancel=on_cancel)
        self._total = total
        self._tolerated = tolerated_failures
        self._on_stream = on_stream
        self._results: dict[int, T] = {}
        self._order: list[int] = []
        """Of the items that have ended: the index of each, first come first."""
        self._failed = 0
        self._waiting: list[_Wake] = []
        self.add_done_callback(_wake_all)

    @property
    def progress(self) -> BatchProgress:
        """How far it is; while it runs this moves only as the run is told, in portions."""
        return BatchProgress(self._total, len(self._results) - self._failed, self._failed)

    def __aiter__(self) -> AsyncIterator[T]:
        """Go through the results in the order of the items."""
        self._on_stream()
        return _InOrder(self)

    def as_completed(self) -> AsyncIterator[BatchItem[T]]:
        """Go through the items as they end."""
        self._on_stream()
        return _AsCompleted(self)

    # --- fed by the run ------------------------------------------------------------------------

    def take(self, index: int, result: T, *, failed: bool) -> None:
        """An item has ended."""
        self._results[index] = result
        self._order.append(index)
        self._failed += failed

    def wake(self) -> None:
        """Let those that wait for the next item look again."""
        _wake_all(self)

    def finish(self) -> None:
        """Every item has ended, well enough."""
        if not self.done():
            self.set_result([self._results[index] for index in range(self._total)])

    # --- used by the iterations ------------------------------------------------------------------

    def next_index(self, place: int) -> int | None:
        """Return the item that ended as number ``place`` (from 0), if that many have."""
        return self._order[place] if place < len(self._order) else None

    async def reach(self, ready: Callable[[], int | None]) -> tuple[int, T] | None:
        """Wait until ``ready`` names an item, and return that; None when no more will come.

        Raises:
            ActivityError: the batch has failed, or was cancelled.
        """
        while True:
            failed = self._failed > self._tolerated
            index = None if failed else ready()
            if index is not None and index in self._results:
                return index, self._results[index]
            if self.done():
                self.result()  # raises what it failed with
                return None
            wake = _Wake(self)
            self._waiting.append(wake)
            await wake

    def take_waiting(self) -> list[_Wake]:
        """Return those that wait for something new, and forget them."""
        waiting, self._waiting = self._waiting, []
        return waiting


class _Wake(asyncio.Future[None]):
    """Waits for something new of a batch; giving up this wait is giving up the batch."""

    def __init__(self, batch: Batch[Any]) -> None:
        super().__init__(loop=batch.get_loop())
        self._batch = batch

    def cancel(self, msg: Any | None = None) -> bool:
        return not self.done() and self._batch.cancel(msg)


def _wake_all(batch: Any) -> None:
    for each in batch.take_waiting():
        if not each.done():
            each.set_result(None)


class _InOrder(AsyncIterator[T]):
    def __init__(self, batch: Batch[T]) -> None:
        self._batch = batch
        self._next = 0

    async def __anext__(self) -> T:
        found = None
        if self._next < self._batch.progress.total:
            found = await self._batch.reach(lambda: self._next)
        if found is None:
            raise StopAsyncIteration
        self._next += 1
        return found[1]


class _AsCompleted(AsyncIterator[BatchItem[T]]):
    def __init__(self, batch: Batch[T]) -> None:
        self._batch = batch
        self._given = 0

    async def __anext__(self) -> BatchItem[T]:
        found = None
        if self._given < self._batch.progress.total:
            found = await self._batch.reach(lambda: self._batch.next_index(self._given))
        if found is None:
            raise StopAsyncIteration
        self._given += 1
        return BatchItem(*found)
