"""``perdure retry``: have a failed run go on from what failed."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Annotated

import typer

from perdure.cli import options as opt

if TYPE_CHECKING:
    from perdure.protocol.retries import RetryResponse

EXAMPLE = "perdure retry order-42 --reason 'the warehouse is back'"


def retry(
    workflow_id: opt.WorkflowId,
    from_start: Annotated[
        bool, typer.Option("--from-start", help="Do all of it again, with the same input.")
    ] = False,
    reason: Annotated[str, typer.Option(help="Recorded in the history.")] = "",
    run_id: opt.RunId = "",
    address: opt.Address = opt.DEFAULT_ADDRESS,
    namespace: opt.Namespace = "default",
    output: opt.OutputAs = opt.Output.TABLE,
) -> None:
    """Follow a closed run by one that begins where it failed; what was done is not done again."""
    from perdure.cli.asking import ask
    from perdure.cli.outputs import print_data, print_line, to_data
    from perdure.protocol.retries import RetryPoint
    from perdure.protocol.verbs import RetryRequest

    answer: RetryResponse = ask(
        address,
        RetryRequest(
            namespace=namespace,
            workflow_id=workflow_id,
            run_id=run_id,
            point=RetryPoint.START if from_start else RetryPoint.FAILED_STEP,
            request_id=str(uuid.uuid4()),
            reason=reason,
            identity="perdure retry",
        ),
    )
    for line in warnings(answer):
        typer.echo(line, err=True)
    match output:
        case opt.Output.NAME:
            print_line(workflow_id)
        case opt.Output.TABLE:
            where = "the start" if from_start else f"event {answer.event}"
            print_line(
                f"retried {workflow_id} from {where} of run {answer.retried_run_id} "
                f"(run {answer.run_id})"
            )
        case _:
            print_data(to_data(answer), output)


def warnings(answer: RetryResponse) -> list[str]:
    """Return what somebody should know who has a run go on from an earlier point."""
    if not answer.effects:
        return []
    what = "after that event the earlier run went on, and the new one knows nothing of it:"
    return [
        f"Warning: {what}",
        *(
            f"  event {each.event}: {each.name}{'' if each.is_completed else ' (not completed)'}"
            for each in answer.effects
        ),
    ]
