"""What clients may ask, one method a verb; the requests are in :mod:`perdure.protocol.verbs`."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from perdure.protocol import events as ev
from perdure.protocol import verbs as vb
from perdure.protocol.messages import RunRef
from perdure.protocol.retries import RetryResponse
from perdure.protocol.verbs import IdConflictPolicy, RunStatus
from perdure_operator.engine import batching, decisions
from perdure_operator.engine.errors import RefusedError, RunClosedError
from perdure_operator.engine.runs import Run
from perdure_operator.engine.transitions import RunRow
from perdure_operator.server import (
    checking,
    describing,
    importing,
    retrying,
    taking,
    versioning,
)
from perdure_operator.server.errors import VerbError, unavailable
from perdure_operator.server.host import Host
from perdure_operator.server.keeping import HotRun, LostError
from perdure_operator.store.port import Outcome, RunFilter

MAX_WAIT = 60.0
"""Seconds that a long poll may last."""
MAX_PAGE = 1_000
QUEUE_POLL = 0.1


class Verbs:
    """The verbs of one server."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._queues_seen: object = None
        self._queues_version = 1
        self.table: dict[type, Callable[[Any], Awaitable[object]]] = {
            vb.StartRequest: self.start,
            vb.SignalRequest: self.signal,
            vb.QueryRequest: self.query,
            vb.CancelRequest: self.cancel,
            vb.TerminateRequest: self.terminate,
            vb.SuspendRequest: self.suspend,
            vb.ResumeRequest: self.resume,
            vb.RetryRequest: self.retry,
            vb.ResultRequest: self.result,
            vb.DescribeRequest: self.describe,
            vb.TakeActivityRequest: self.take_activity,
            vb.ReportActivityRequest: partial(taking.report, host),
            vb.BeatActivityRequest: partial(taking.beat, host),
            vb.HistoryRequest: self.history,
            vb.ImportRequest: self.import_,
            vb.ListRequest: self.list,
            vb.WatchRequest: self.watch,
            vb.QueuesRequest: self.queues,
            vb.SetCurrentVersionRequest: partial(versioning.set_current, host),
        }
        """The method for each type of request."""

    # --- starting --------------------------------------------------------------------------

    async def start(self, request: vb.StartRequest) -> vb.StartResponse:
        """Make a run, unless the request, the id or a policy says that there is one."""
        checking.check_start(request)
        while True:
            known = await self._host.store.find_run(request.namespace, request.workflow_id)
            if known is not None:
                answer = await self._existing(request, known)
                if answer is not None:
                    return answer
            run_id = self._host.new_id()
            try:
                events = decisions.start(request, run_id)
                ref = RunRef(request.namespace, request.workflow_id, run_id)
                hot = self._host.keeper.add(Run(ref=ref, watched=request.watched))
                await self._host.keeper.change(hot, events)
            except RefusedError as refusal:
                raise VerbError("Invalid", str(refusal)) from refusal
            except LostError as error:
                if error.outcome is Outcome.ALREADY_OPEN:
                    continue  # Somebody else was faster: look again at what there is.
                raise unavailable(error) from error
            return vb.StartResponse(run_id=run_id)

    async def import_(self, request: vb.ImportRequest) -> vb.ImportResponse:
        """Make a run from its whole history."""
        return await importing.import_run(self._host, request)

    async def retry(self, request: vb.RetryRequest) -> RetryResponse:
        """Make a new run of a closed one."""
        return await retrying.retry_run(self._host, request, await self._row(request))

    async def _existing(self, request: vb.StartRequest, known: RunRow) -> vb.StartResponse | None:
        """Answer from the run that there is, or return ``None`` if another may be made."""
        if request.request_id and known.request_id == request.request_id:
            return vb.StartResponse(run_id=known.run_id, started=False)
        if known.closed is None:
            return await self._open_already(request, known)
        checking.check_reuse(request, known)
        return None

    async def _open_already(
        self, request: vb.StartRequest, known: RunRow
    ) -> vb.StartResponse | None:
        match request.id_conflict_policy:
            case IdConflictPolicy.FAIL:
                raise VerbError(
                    "AlreadyStarted",
                    f"{known.workflow_id!r} is running already (type {known.workflow_type}, "
                    f"run {known.run_id})",
                    run_id=known.run_id,
                )
            case IdConflictPolicy.TERMINATE_EXISTING:
                await self.terminate(
                    vb.TerminateRequest(
                        namespace=known.namespace,
                        workflow_id=known.workflow_id,
                        run_id=known.run_id,
                        reason="replaced by a new run of the same id",
                        identity=request.identity,
                    )
                )
                return None
            case IdConflictPolicy.USE_EXISTING:
                if request.start_signal:
                    await self.signal(
                        vb.SignalRequest(
                            namespace=known.namespace,
                            workflow_id=known.workflow_id,
                            run_id=known.run_id,
                            name=request.start_signal,
                            input=request.start_signal_input,
                            signal_id=request.request_id,
                            identity=request.identity,
                        )
                    )
                return vb.StartResponse(run_id=known.run_id, started=False)

    # --- changing --------------------------------------------------------------------------

    async def signal(self, request: vb.SignalRequest) -> vb.Done:
        """Tell an open run something."""
        checking.check_payloads(request.input, f"input of signal {request.name!r}")
        return await self._decide(request, decisions.signal)

    async def cancel(self, request: vb.CancelRequest) -> vb.Done:
        """Ask an open run to end."""
        return await self._decide(request, decisions.request_cancel)

    async def terminate(self, request: vb.TerminateRequest) -> vb.Done:
        """End an open run without asking its code."""
        checking.check_payloads(request.details, "details of the termination")
        return await self._decide(request, decisions.terminate)

    async def suspend(self, request: vb.SuspendRequest) -> vb.Done:
        """Hold an open run where it is."""
        return await self._decide(request, decisions.suspend)

    async def resume(self, request: vb.ResumeRequest) -> vb.Done:
        """Let a suspended run go on."""
        return await self._decide(request, decisions.resume)

    async def take_activity(self, request: vb.TakeActivityRequest) -> vb.TakeActivityResponse:
        """Begin an attempt of an activity with a pod of its own."""
        return await taking.take(self._host, await self._hot(request), request)

    async def _decide(self, request: Any, decide: Callable[[Run, Any], list[ev.Event]]) -> vb.Done:
        hot = await self._hot(request)
        try:
            events = decide(hot.run, request)
        except RunClosedError as refusal:
            await self._host.settle(hot)
            raise VerbError("AlreadyClosed", str(refusal), run_id=hot.run_id) from refusal
        except RefusedError as refusal:
            raise VerbError("Invalid", str(refusal), run_id=hot.run_id) from refusal
        await self._change(hot, events)
        return vb.Done()

    async def _change(self, hot: HotRun, events: list[ev.Event]) -> None:
        try:
            await self._host.keeper.change(hot, events)
        except LostError as error:
            raise unavailable(error) from error
        if not events:
            # It is known already; what made it known may still be on its way to the disk.
            await self._host.settle(hot)

    # --- asking ----------------------------------------------------------------------------

    async def query(self, request: vb.QueryRequest) -> vb.QueryResponse:
        """Ask a run's code something."""
        checking.check_payloads(request.input, f"input of query {request.name!r}")
        hot = await self._hot(request)
        if not hot.run.is_workflow:
            raise VerbError(
                "Invalid", f"{request.workflow_id!r} is an activity: it answers no queries"
            )
        return await self._host.queries.ask(hot, request)

    async def result(self, request: vb.ResultRequest) -> vb.ResultResponse:
        """Wait for a run's end."""
        row = await self._row(request)
        deadline = _deadline(request.wait)
        while row.closed is None:
            left = deadline - asyncio.get_running_loop().time()
            if left <= 0 or not self._host.is_ready:
                return vb.ResultResponse(run_id=row.run_id, status=row.status)
            await self._host.changes.wait_closed(row.run_id, left)
            row = await self._row_of(row.run_id)
        last = await self._host.store.read_history(row.run_id, after=row.last_event - 1)
        return describing.result(row, last[-1].event)

    async def describe(self, request: vb.DescribeRequest) -> vb.RunDescription:
        """Tell all that is known of a run short of its history."""
        hot = await self._hot(request)
        if request.settle:
            await self._change(hot, batching.move_all(hot.run))
        # Nothing is shown before it is recorded.
        await self._host.settle(hot)
        described = describing.description(
            hot, self._host.now(), has_operator=self._host.settings.has_operator
        )
        return await describing.with_history(described, request, self._host.store)

    async def history(self, request: vb.HistoryRequest) -> vb.HistoryResponse:
        """Return a page of events."""
        row = await self._row(request)
        deadline = _deadline(request.wait)
        while row.last_event <= request.after and row.closed is None:
            left = deadline - asyncio.get_running_loop().time()
            if left <= 0 or not self._host.is_ready:
                break
            await self._host.changes.wait_changed(row.run_id, left)
            row = await self._row_of(row.run_id)
        events = await self._host.store.read_history(
            row.run_id, after=request.after, limit=max(1, min(request.limit, MAX_PAGE))
        )
        return vb.HistoryResponse(
            run_id=row.run_id,
            workflow_type=row.workflow_type,
            events=tuple(events),
            last_event=row.last_event,
            closed=row.closed is not None,
        )

    async def list(self, request: vb.ListRequest) -> vb.ListResponse:
        """Return a page of runs, newest first."""
        try:
            status = RunStatus(request.status) if request.status else None
            before = describing.parse_page(request.page)
        except ValueError as error:
            raise VerbError("Invalid", str(error)) from error
        limit = max(1, min(request.limit, MAX_PAGE))
        rows = await self._host.store.list_runs(
            RunFilter(
                namespace=request.namespace,
                status=status,
                workflow_type=request.workflow_type,
                workflow_id=request.workflow_id,
                kind=request.kind,
                limit=limit,
                before=before,
            )
        )
        return vb.ListResponse(
            runs=tuple(describing.summary(row) for row in rows),
            next_page=describing.format_page(rows[-1]) if len(rows) == limit else "",
        )

    async def watch(self, request: vb.WatchRequest) -> vb.WatchResponse:
        """Tell which watched runs changed."""
        limit = max(1, min(request.limit, MAX_PAGE))
        deadline = _deadline(request.wait)
        cursor = request.cursor
        while True:
            cursor, found = await self._host.store.watched_changes(cursor=cursor, limit=limit)
            rows = [row for row in found if request.namespace in ("", row.namespace)]
            if found and not rows:
                continue  # All of another namespace: there may be more behind them.
            left = deadline - asyncio.get_running_loop().time()
            if rows or left <= 0 or not self._host.is_ready:
                return vb.WatchResponse(
                    cursor=cursor,
                    changes=tuple(describing.change(row) for row in rows),
                    store=self._host.store_id,
                )
            await self._host.changes.wait_watched(left)

    async def queues(self, request: vb.QueuesRequest) -> vb.QueuesResponse:
        """Tell work and workers by task queue."""
        deadline = _deadline(request.wait)
        while True:
            version = self._queues_now()
            left = deadline - asyncio.get_running_loop().time()
            if version != request.version or left <= 0 or not self._host.is_ready:
                return vb.QueuesResponse(
                    version=version, queues=self._host.dispatcher.describe(request.namespace)
                )
            await asyncio.sleep(min(QUEUE_POLL, left))

    def _queues_now(self) -> int:
        seen = self._host.dispatcher.describe("")
        if seen != self._queues_seen:
            self._queues_seen = seen
            self._queues_version += 1
        return self._queues_version

    # --- finding ---------------------------------------------------------------------------

    async def kind_of(self, request: vb.TargetRequest) -> str:
        """Return whether a request is about a workflow or an activity; of nothing, a workflow."""
        if request.run_id:
            row = await self._host.store.get_run(request.run_id)
        else:
            row = await self._host.store.find_run(request.namespace, request.workflow_id)
        is_there = row is not None and row.namespace == request.namespace
        return row.kind if row is not None and is_there else "workflow"

    async def _row(self, request: vb.TargetRequest) -> RunRow:
        if request.run_id:
            row = await self._host.store.get_run(request.run_id)
            if row is not None and (row.namespace, row.workflow_id) != (
                request.namespace,
                request.workflow_id,
            ):
                row = None
        else:
            row = await self._host.store.find_run(request.namespace, request.workflow_id)
        if row is None:
            which = f" with run id {request.run_id}" if request.run_id else ""
            raise VerbError(
                "NotFound",
                f"no run of {request.workflow_id!r}{which} in namespace {request.namespace!r}",
            )
        return row

    async def _row_of(self, run_id: str) -> RunRow:
        row = await self._host.store.get_run(run_id)
        assert row is not None, "a run that was there does not vanish"
        return row

    async def _hot(self, request: vb.TargetRequest) -> HotRun:
        row = await self._row(request)
        hot = await self._host.keeper.get(row.run_id)
        if hot is None:
            raise VerbError(
                "Damaged",
                f"the history of {row.workflow_id!r} (run {row.run_id}) is damaged, and nothing is "
                f"recorded for it any more: {self._host.keeper.damaged.get(row.run_id)}. Restore "
                "the database from a backup.",
                run_id=row.run_id,
            )
        return hot


def _deadline(wait_ms: int) -> float:
    return asyncio.get_running_loop().time() + min(MAX_WAIT, wait_ms / 1000)
