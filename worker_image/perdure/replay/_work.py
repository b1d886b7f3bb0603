"""Activities and steps of one run: asking for them, and letting go of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec

from perdure.exceptions import CancelledError, PayloadTooLargeError, UsageError
from perdure.protocol import commands as cmd
from perdure.protocol.payloads import Payload
from perdure.replay._asked import StepInvocation
from perdure.replay._batches import BatchWait
from perdure.replay._waits import ActivityWait, StepWait
from perdure.workflow._batch_handle import Batch
from perdure.workflow._requests import (
    ActivityCancellationType,
    ActivityHandle,
    ActivityRequest,
    BatchRequest,
    Handle,
    StepRequest,
)

if TYPE_CHECKING:
    from perdure.replay._run import Run


class Work:
    """What the run's code has others do."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._loop = run.loop
        self._waits = run.waits
        self._asked = run.asked

    def start_activity(self, request: ActivityRequest) -> ActivityHandle[Any]:
        """Ask for an activity."""
        self._run.assert_writable("start an activity")
        seq = self._run.next_seq()
        activity_id = request.activity_id or str(seq)
        given = self._encode(request.args, f"activity {request.name!r}")
        if request.placement is not None and request.placement.container:
            _check_json(given, request.name)
        command = cmd.ScheduleActivity(
            seq=seq,
            activity_id=activity_id,
            activity_type=request.name,
            task_queue=request.task_queue,
            input=given,
            schedule_to_close_timeout=request.schedule_to_close_timeout,
            schedule_to_start_timeout=request.schedule_to_start_timeout,
            start_to_close_timeout=request.start_to_close_timeout,
            heartbeat_timeout=request.heartbeat_timeout,
            retry_policy=request.retry_policy,
            summary=request.summary,
            placement=request.placement,
        )
        handle: ActivityHandle[Any] = ActivityHandle(
            loop=self._loop, key=self._loop.next_key(), seq=seq, on_cancel=self._cancel_activity
        )
        self._waits.add(
            ActivityWait(
                seq=seq,
                name=request.name,
                activity_id=activity_id,
                result_type=request.result_type,
                cancellation_type=request.cancellation_type,
                handle=handle,
            )
        )
        self._asked.begin(seq, command)
        return handle

    def start_batch(self, request: BatchRequest) -> Batch[Any]:
        """Ask for a batch; one without items is done at once and is no matter of history."""
        self._run.assert_writable("start a batch")
        if not request.items:
            batch = self._new_batch(0, request, lambda: None)
            batch.finish()
            return batch
        seq = self._run.next_seq()
        command = self._batch_command(seq, request)
        # Of use only as long as the command is not sent.
        streamed = msgspec.structs.replace(command, streamed=True)
        batch = self._new_batch(seq, request, lambda: self._asked.change(seq, streamed))
        self._waits.add(
            BatchWait(
                seq=seq,
                name=command.activity_type,
                activity_id=command.activity_id,
                result_type=request.activity.result_type,
                cancellation_type=request.activity.cancellation_type,
                handle=batch,
            )
        )
        self._asked.begin(seq, command)
        return batch

    def _new_batch(
        self, seq: int, request: BatchRequest, on_stream: Callable[[], None]
    ) -> Batch[Any]:
        return Batch(
            loop=self._loop,
            key=self._loop.next_key(),
            seq=seq,
            total=len(request.items),
            tolerated_failures=request.tolerated_failures,
            on_cancel=self._cancel_activity,
            on_stream=on_stream,
        )

    def _batch_command(self, seq: int, request: BatchRequest) -> cmd.ScheduleBatch:
        activity = request.activity
        inputs = self._encode(request.items, f"the items of batch {activity.name!r}")
        return cmd.ScheduleBatch(
            seq=seq,
            activity_id=activity.activity_id or str(seq),
            activity_type=activity.name,
            task_queue=activity.task_queue,
            items=tuple((each,) for each in inputs),
            parallelism=request.parallelism,
            tolerated_failures=request.tolerated_failures,
            streamed=request.streamed,
            schedule_to_close_timeout=activity.schedule_to_close_timeout,
            schedule_to_start_timeout=activity.schedule_to_start_timeout,
            start_to_close_timeout=activity.start_to_close_timeout,
            heartbeat_timeout=activity.heartbeat_timeout,
            retry_policy=activity.retry_policy,
            summary=activity.summary,
        )

    def start_local_activity(
        self, request: StepRequest, *, cancellation_type: ActivityCancellationType, activity_id: str
    ) -> ActivityHandle[Any]:
        """Ask for an activity as a step."""
        seq = self._ask_step(request)
        handle: ActivityHandle[Any] = ActivityHandle(
            loop=self._loop, key=self._loop.next_key(), seq=seq, on_cancel=self._cancel_local
        )
        self._waits.add(
            ActivityWait(
                seq=seq,
                name=request.name,
                activity_id=activity_id or str(seq),
                result_type=request.result_type,
                cancellation_type=cancellation_type,
                handle=handle,
                is_local=True,
            )
        )
        return handle

    def start_step(self, request: StepRequest) -> Handle[Any]:
        """Ask for a step."""
        seq = self._ask_step(request)
        handle: Handle[Any] = Handle(
            loop=self._loop, key=self._loop.next_key(), seq=seq, on_cancel=self._cancel_step
        )
        name = request.name or f"step-{seq}"
        self._waits.add(StepWait(seq, name, request.result_type, handle))
        return handle

    def _ask_step(self, request: StepRequest) -> int:
        self._run.assert_writable("start a step")
        seq = self._run.next_seq()
        self._asked.step(
            StepInvocation(
                seq=seq,
                name=request.name or f"step-{seq}",
                fn=request.fn,
                args=request.args,
                retry_policy=request.retry_policy,
                timeout=request.timeout,
                activity=request.activity,
                idempotency_key=self._run.idempotency_key(seq),
            )
        )
        return seq

    def _cancel_activity(self, handle: Handle[Any], _msg: Any) -> bool:
        self._run.assert_writable("cancel an activity")
        wait = self._waits.get(handle.seq)
        assert isinstance(wait, (ActivityWait, BatchWait))
        how = wait.cancellation_type
        if how is not ActivityCancellationType.ABANDON and self._asked.take_back(wait.seq):
            self._waits.forget(wait.seq)
            return _raise_cancelled(wait)
        if how is not ActivityCancellationType.ABANDON and not wait.cancel_requested:
            wait.cancel_requested = True
            self._asked.command(cmd.RequestCancelActivity(seq=wait.seq))
        if how is ActivityCancellationType.WAIT_CANCELLATION_COMPLETED:
            return True
        self._waits.drop(wait.seq)
        return _raise_cancelled(wait)

    def _cancel_local(self, handle: Handle[Any], _msg: Any) -> bool:
        self._run.assert_writable("cancel a local activity")
        wait = self._waits.get(handle.seq)
        assert isinstance(wait, ActivityWait)
        if wait.cancellation_type is not ActivityCancellationType.ABANDON:
            self._asked.cancel_step(wait.seq)
        self._waits.drop(wait.seq)
        return _raise_cancelled(wait)

    def _cancel_step(self, handle: Handle[Any], msg: Any) -> bool:
        self._run.assert_writable("cancel a step")
        self._asked.cancel_step(handle.seq)
        self._waits.drop(handle.seq)
        return handle.cancel_wait(msg)

    def _encode(self, values: tuple[Any, ...], what: str) -> tuple[Payload, ...]:
        try:
            return self._run.converter.to_payloads(values, what) if values else ()
        except PayloadTooLargeError as error:
            # Also when the code catches it: the same would happen again on every worker.
            self._run.fail_task(error)
            raise


def _check_json(values: tuple[Payload, ...], name: str) -> None:
    for number, value in enumerate(values, 1):
        encoding = value.metadata.get("encoding", b"").decode()
        if not encoding.startswith("json/") and encoding != "binary/null":
            raise UsageError(
                f"input {number} of container {name!r} becomes {encoding or 'bytes'}, and a "
                "container reads JSON: give what JSON can hold"
            )


def _raise_cancelled(wait: ActivityWait | BatchWait) -> bool:
    wait.handle.set_exception(wait.cancelled(CancelledError("Cancelled")))
    # Whoever cancels it need not wait for it: no complaint when nobody looks.
    wait.handle.exception()
    return True
