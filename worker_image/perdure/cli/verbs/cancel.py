"""``perdure cancel``: ask a run to end."""

from __future__ import annotations

from typing import Annotated

import typer

from perdure.cli import options as opt

EXAMPLE = "perdure cancel order-42 --reason 'customer changed her mind'"


def cancel(
    workflow_id: opt.WorkflowId,
    reason: Annotated[str, typer.Option(help="Recorded in the history.")] = "",
    run_id: opt.RunId = "",
    address: opt.Address = opt.DEFAULT_ADDRESS,
    namespace: opt.Namespace = "default",
) -> None:
    """Ask a workflow to end; its code may clean up first."""
    from perdure.cli.asking import ask
    from perdure.cli.outputs import print_line
    from perdure.protocol.verbs import CancelRequest

    ask(
        address,
        CancelRequest(
            namespace=namespace,
            workflow_id=workflow_id,
            run_id=run_id,
            reason=reason,
            identity="perdure cancel",
        ),
    )
    print_line(f"asked {workflow_id} to end")
