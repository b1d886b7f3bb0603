"""Questions to runs' code, answered from the cache or from a history that came along."""

from __future__ import annotations

from perdure.protocol.failures import Failure
from perdure.protocol.messages import AskQuery, QueryAnswer
from perdure.protocol.payloads import Payload
from perdure.replay.errors import WorkflowTaskError
from perdure.worker._outbox import Outbox
from perdure.worker._runs import CachedRun, RunCache, failure_of
from perdure.worker._watchdog import DeadlockError, Watchdog


class Queries:
    """Answers the queries that a worker is asked.

    Asking lets a run's code look, not go on: events that came with the question are kept for the
    next task.
    """

    def __init__(self, *, runs: RunCache, outbox: Outbox, watchdog: Watchdog) -> None:
        self._runs = runs
        self._outbox = outbox
        self._watchdog = watchdog

    def ask(self, message: AskQuery) -> None:
        """Answer a question."""
        run_id = message.run.run_id
        run = self._runs.get(run_id)
        if run is None and not message.complete:
            self._runs.miss(run_id)
            return
        try:
            result, failure = self._answer(self._prepare(run, message), message)
        except WorkflowTaskError as error:
            result, failure = None, error.failure
        except (Exception, DeadlockError) as error:  # noqa: BLE001 - the asker is told
            result, failure = None, failure_of(error)
        self._outbox.put(QueryAnswer(query=message.query, result=result, failure=failure))
        self._runs.shrink()

    def _prepare(self, run: CachedRun | None, message: AskQuery) -> CachedRun:
        """Return the run, with the events of the question behind it."""
        events, complete = message.events, message.complete
        if run is not None and run.task is not None and complete:
            return run  # it is ahead of what it is asked about
        if run is None or complete:
            run = self._runs.make(message.run, events)
        if events:
            instance = run.instance
            try:
                self._watchdog.run(
                    run.label,
                    lambda: instance.activate(events, started=None, complete=complete),
                )
            except BaseException:
                self._runs.evict(message.run.run_id)
                raise
        return run

    def _answer(self, run: CachedRun, message: AskQuery) -> tuple[Payload | None, Failure | None]:
        instance = run.instance
        answer: tuple[Payload | None, Failure | None] = self._watchdog.run(
            f"query {message.name} of {run.label}",
            lambda: instance.query(message.name, message.input),
        )
        return answer
