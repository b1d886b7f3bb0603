"""``perdure resume``: let a suspended run go on."""

from __future__ import annotations

from perdure.cli import options as opt

EXAMPLE = "perdure resume order-42"


def resume(
    workflow_id: opt.WorkflowId,
    run_id: opt.RunId = "",
    address: opt.Address = opt.DEFAULT_ADDRESS,
    namespace: opt.Namespace = "default",
) -> None:
    """Let a suspended workflow go on."""
    from perdure.cli.asking import ask
    from perdure.cli.outputs import print_line
    from perdure.protocol.verbs import ResumeRequest

    ask(
        address,
        ResumeRequest(
            namespace=namespace,
            workflow_id=workflow_id,
            run_id=run_id,
            identity="perdure resume",
        ),
    )
    print_line(f"resumed {workflow_id}")
