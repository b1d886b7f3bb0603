"""``perdure show``: one run and its history."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import typer

from perdure.cli import options as opt

if TYPE_CHECKING:
    from perdure.client import Service
    from perdure.protocol.messages import RunRef
    from perdure.protocol.verbs import PendingBatch, RunDescription

EXAMPLE = "perdure show order-42 --follow"


def show(
    workflow_id: opt.WorkflowId,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on as things happen, to the run's end.")
    ] = False,
    everything: Annotated[bool, typer.Option("--all", help="Bookkeeping events as well.")] = False,
    run_id: opt.RunId = "",
    address: opt.Address = opt.DEFAULT_ADDRESS,
    namespace: opt.Namespace = "default",
    output: opt.OutputAs = opt.Output.TABLE,
) -> None:
    """Show a run and its history."""
    from perdure.cli.asking import with_service
    from perdure.protocol.verbs import DescribeRequest

    target = DescribeRequest(namespace=namespace, workflow_id=workflow_id, run_id=run_id)

    async def work(service: Service) -> None:
        description = await service.call(target)
        if output is not opt.Output.TABLE:
            await _print_data(service, description, output)
            return
        for line in head(description, time.time_ns() // 1_000_000):
            typer.echo(line)
        await _print_lines(service, description, follow=follow, everything=everything)

    with_service(address, work)


async def _print_data(service: Service, description: RunDescription, output: opt.Output) -> None:
    from perdure.cli.following import read_history
    from perdure.cli.outputs import print_data, print_line, to_data

    if output is opt.Output.NAME:
        print_line(description.workflow_id)
        return
    events = [to_data(each) async for each in read_history(service, _ref(description))]
    print_data({**to_data(description), "history": events}, output)


async def _print_lines(
    service: Service, description: RunDescription, *, follow: bool, everything: bool
) -> None:
    from perdure.cli.failed_items import FailedItems
    from perdure.cli.following import follow_history, read_history
    from perdure.protocol.lines import HistoryLines

    lines, failed = HistoryLines(everything=everything), FailedItems(everything=everything)
    read = follow_history if follow else read_history
    async for recorded in read(service, _ref(description)):
        line = None if recorded is None else lines.line(recorded)
        if line is not None:
            typer.echo(line)
        for detail in () if recorded is None else failed.lines(recorded.event):
            typer.echo(detail)
    if not follow:
        for detail in failed.of_open():
            typer.echo(detail)
        for line in pending(description, time.time_ns() // 1_000_000):
            typer.echo(line)


def head(run: RunDescription, now: int) -> list[str]:
    """Return what is said of a run above its history."""
    from perdure.cli.outputs import ago
    from perdure.protocol.lines import duration_text, failure_text

    status = run.status.value
    if run.current_step:
        status = f"{status}, step: {run.current_step}"
    when = f"started {ago(run.started, now)}"
    if run.closed is not None:
        took = run.closed - run.started
        when = f"{when}, took {duration_text(took if took < 1000 else took // 1000 * 1000)}"
    kind = "Activity" if run.kind == "activity" else "Workflow"
    lines = [f"{kind}  {run.workflow_id} ({run.workflow_type})   {status}   {when}"]
    if run.retried is not None:
        reason = f": {run.retried.reason}" if run.retried.reason else ""
        lines.append(f"Retried from run {run.retried.run_id} at event {run.retried.event}{reason}")
    if run.task_failure is not None:
        lines.append(
            f"Its code fails and is tried again ({run.task_failure_cause}): "
            f"{failure_text(run.task_failure)}"
        )
    if run.cancel_requested and run.closed is None:
        lines.append("It was asked to end")
    return lines


def pending(run: RunDescription, now: int) -> list[str]:
    """Return what is said of batches, and of activities that are tried again or lack something."""
    from perdure.protocol.lines import duration_text, failure_text

    lines = [batch_line(each) for each in run.pending_batches]
    for each in run.pending_activities:
        if each.waits_for:
            lines.append(f"{each.activity_type}: waits for {each.waits_for}")
        if each.last_failure is None:
            continue
        wait = max(0, (each.next_attempt or now) - now) // 1000 * 1000
        state = f"again in {duration_text(wait)}" if each.state == "BackingOff" else each.state
        lines.append(
            f"{each.activity_type}: attempt {each.attempt}, {state}, "
            f"after {failure_text(each.last_failure)}"
        )
    return lines


def batch_line(batch: PendingBatch) -> str:
    """Return how far a batch is."""
    from perdure.protocol.lines import failure_text, short_text

    closed = batch.succeeded + batch.failed
    which = f": {short_text(batch.failed_indexes)}" if batch.failed_indexes else ""
    failed = f" ({batch.failed} failed{which})" if batch.failed else ""
    why = f", last failure: {failure_text(batch.last_failure)}" if batch.last_failure else ""
    return (
        f"{batch.activity_type}: {closed} of {batch.total} items{failed}, "
        f"{batch.running} running{why}"
    )


def _ref(run: RunDescription) -> RunRef:
    from perdure.protocol.messages import RunRef

    return RunRef(run.namespace, run.workflow_id, run.run_id)
