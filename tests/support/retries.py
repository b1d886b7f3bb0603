"""Retried runs for tests: a driver that goes on where a retry begins."""

from __future__ import annotations

import msgspec

from perdure.protocol import commands as cmd
from perdure.protocol import events as ev
from perdure.protocol.events import HistoryEvent
from perdure.protocol.messages import RunRef
from perdure.protocol.retries import RetryPoint
from perdure.protocol.verbs import RetryRequest
from perdure_operator.engine import restoring, retrying
from perdure_operator.engine.retrying import Retry
from support.histories import RunDriver

_ENDS = (*ev.ACTIVITY_ENDS, ev.TimerFired, ev.TimerCanceled)


def ask(*, point: str = "failed-step", **fields: str) -> RetryRequest:
    """A request to retry the run of the drivers."""
    return RetryRequest(namespace="default", workflow_id="wf", point=RetryPoint(point), **fields)


def retry_of(driver: RunDriver, run_id: str = "run-2", **fields: str) -> tuple[Retry, RunDriver]:
    """Return the retry of a driver's closed run, and a driver that goes on from there."""
    retry = retrying.retry(driver.events, ask(**fields), run_id, driver.now)
    return retry, resumed(driver, retry.history, run_id)


def resumed(driver: RunDriver, history: tuple[HistoryEvent, ...], run_id: str) -> RunDriver:
    """Return a driver of the same workflow that has this history behind it."""
    # What the engine makes of it is what a server would have in its store.
    run, _ = restoring.restore(RunRef("default", "wf", run_id), history, driver.now)
    after = RunDriver(
        driver.workflow,
        driver.args,
        run_id=run_id,
        cached=driver.cached,
        failure_exception_types=driver.failure_exception_types,
    )
    after.now = max(driver.now, history[-1].time)
    after.events[:] = history
    after.commits[:] = [len(history)]
    after.activities = {seq: _command(each) for seq, each in run.scheduled.items()}
    after.timers = {seq: each.fires for seq, each in run.timers.items()}
    assert run.needs_task or not run.through or run.is_closed
    return after


def _command(event: ev.ActivityScheduled) -> cmd.ScheduleActivity:
    return cmd.ScheduleActivity(**msgspec.structs.asdict(event))
