"""``perdure terminate``: end a run without asking its code."""

from __future__ import annotations

from typing import Annotated

import typer

from perdure.cli import options as opt

EXAMPLE = "perdure terminate order-42 --reason 'stuck since the migration'"


def terminate(
    workflow_id: opt.WorkflowId,
    reason: Annotated[str, typer.Option(help="Recorded in the history.")] = "",
    run_id: opt.RunId = "",
    address: opt.Address = opt.DEFAULT_ADDRESS,
    namespace: opt.Namespace = "default",
) -> None:
    """End a workflow at once; its code is not asked and cannot clean up."""
    from perdure.cli.asking import ask
    from perdure.cli.outputs import print_line
    from perdure.protocol.verbs import TerminateRequest

    ask(
        address,
        TerminateRequest(
            namespace=namespace,
            workflow_id=workflow_id,
            run_id=run_id,
            reason=reason,
            identity="perdure terminate",
        ),
    )
    print_line(f"terminated {workflow_id}")
