"""What becomes of a batch that a run waits for, when history says how its items ended."""

from __future__ import annotations

from typing import Any

from perdure.converter import DataConverter
from perdure.exceptions import ActivityError, CancelledError, PerdureError
from perdure.protocol import events as ev
from perdure.protocol.events import ItemResult
from perdure.protocol.failures import RetryState
from perdure.replay._activity_errors import activity_error, batch_error, item_error
from perdure.workflow._batch_handle import Batch
from perdure.workflow._requests import ActivityCancellationType


class BatchWait:
    """A started batch."""

    __slots__ = (
        "activity_id",
        "cancel_requested",
        "cancellation_type",
        "handle",
        "name",
        "result_type",
        "seq",
    )

    def __init__(
        self,
        *,
        seq: int,
        name: str,
        activity_id: str,
        result_type: Any,
        cancellation_type: ActivityCancellationType,
        handle: Batch[Any],
    ) -> None:
        self.seq = seq
        self.name = name
        self.activity_id = activity_id
        self.result_type = result_type
        self.cancellation_type = cancellation_type
        self.handle = handle
        self.cancel_requested = False

    @property
    def label(self) -> str:
        """What it is, for messages."""
        total = self.handle.progress.total
        return f"a batch of {total} {self.name!r} with id {self.activity_id!r} (number {self.seq})"

    def fits(self, event: Any) -> bool:
        """Whether ``event`` can be how it ended."""
        return type(event) in ev.BATCH_ENDS

    def has_items(self, event: ev.BatchItemsClosed) -> bool:
        """Whether all items that ``event`` names are its own."""
        total = self.handle.progress.total
        return all(0 <= each.index < total for each in event.items)

    def collect(self, event: ev.BatchItemsClosed, converter: DataConverter) -> None:
        """Take the results of items, and let those that go through them go on."""
        for each in event.items:
            if self.handle.done():  # given up, or a result could not be read
                return
            self._take(each, converter)
        self.handle.wake()

    def resolve(self, event: Any, converter: DataConverter) -> None:
        """Let whoever waits go on."""
        if self.handle.done():  # a result could not be read
            return
        if isinstance(event, ev.BatchCompleted):
            self.handle.finish()
        elif isinstance(event, ev.BatchCanceled):
            self.handle.set_exception(self.cancelled(CancelledError("Cancelled")))
        else:
            error = batch_error(event.failure, self.name, self.activity_id, converter)
            error.seq = self.seq
            self.handle.set_exception(error)

    def cancelled(self, cause: PerdureError) -> ActivityError:
        """Return what is raised where it is awaited when it is cancelled."""
        state = RetryState.CANCEL_REQUESTED
        return activity_error("Batch cancelled", self.name, self.activity_id, cause, state)

    def _take(self, item: ItemResult, converter: DataConverter) -> None:
        label = f"{self.activity_id}.{item.index}"
        if item.failure is not None:
            error = item_error(item.failure, self.name, label, converter, item.retry_state)
            self.handle.take(item.index, error, failed=True)
            return
        try:
            value = converter.from_payload(
                item.result,
                self.result_type,
                f"the result of item {item.index} of {self.label}",
            )
        except Exception as error:  # noqa: BLE001 - a user's converter may raise anything
            self.handle.set_exception(error)
        else:
            self.handle.take(item.index, value, failed=False)
