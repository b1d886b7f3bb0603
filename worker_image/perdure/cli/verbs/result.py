"""``perdure result``: wait for a run's end."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from perdure.cli import options as opt

if TYPE_CHECKING:
    from perdure.client import Service
    from perdure.protocol.verbs import ResultResponse

EXAMPLE = "perdure result order-42"


def result(
    workflow_id: opt.WorkflowId,
    run_id: opt.RunId = "",
    address: opt.Address = opt.DEFAULT_ADDRESS,
    namespace: opt.Namespace = "default",
    output: opt.ValueAs = opt.ValueOutput.JSON,
) -> None:
    """Wait for a run to end and print its result as JSON; exit with 1 if it did not succeed."""
    from perdure.cli.asking import with_service
    from perdure.cli.ending import print_ending

    answer = with_service(address, lambda service: _wait(service, namespace, workflow_id, run_id))
    raise typer.Exit(print_ending(workflow_id, answer, output))


async def _wait(service: Service, namespace: str, workflow_id: str, run_id: str) -> ResultResponse:
    from perdure.protocol.verbs import ResultRequest

    while True:
        answer = await service.call(
            ResultRequest(namespace=namespace, workflow_id=workflow_id, run_id=run_id)
        )
        if not answer.status.is_open:
            return answer
        run_id = answer.run_id  # a newer run of the id is not what was asked for
