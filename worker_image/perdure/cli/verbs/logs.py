"""``perdure logs``: what the pods that worked on a run have printed of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from perdure.cli import options as opt
from perdure.cli.errors import CommandError

if TYPE_CHECKING:
    from perdure.cli.podlogs import PodLogs
    from perdure.client import Service
    from perdure.protocol.messages import RunRef

EXAMPLE = "kubectl perdure logs order-42 --follow"


def logs(
    workflow_id: opt.WorkflowId,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on as they print, to the run's end.")
    ] = False,
    everything: Annotated[
        bool, typer.Option("--all", help="Lines that do not name the run as well.")
    ] = False,
    run_id: opt.RunId = "",
    address: opt.Address = opt.DEFAULT_ADDRESS,
    namespace: opt.Namespace = "default",
) -> None:
    """Print the log of a run, from all pods that worked on it, while they are there.

    A line belongs to the run when it names its id, as lines of workflow.logger and
    activity.logger do, or when the pod worked for this run alone.
    """
    from perdure.cli.access import current_access
    from perdure.cli.asking import with_service
    from perdure.cli.podlogs import PodLogs
    from perdure.protocol.messages import RunRef
    from perdure.protocol.verbs import DescribeRequest

    kubectl = current_access().kubectl
    if kubectl is None:
        raise CommandError(
            "logs are those of pods: say `kubectl perdure logs`, or give --context. Without a "
            "cluster, they are where `perdure worker` prints"
        )
    target = DescribeRequest(namespace=namespace, workflow_id=workflow_id, run_id=run_id)

    async def work(service: Service) -> None:
        run = await service.call(target)
        ref = RunRef(run.namespace, run.workflow_id, run.run_id)
        podlogs = PodLogs(kubectl, ref, since=run.started, everything=everything)
        await _print(service, ref, podlogs, follow=follow)

    with_service(address, work)


async def _print(service: Service, ref: RunRef, podlogs: PodLogs, *, follow: bool) -> None:
    from perdure.cli.following import follow_history, read_history
    from perdure.cli.outputs import print_line

    if follow:
        with podlogs.following() as followed:
            async for recorded in follow_history(service, ref):
                followed.see(recorded)
        return
    async for recorded in read_history(service, ref):
        podlogs.see(recorded)
    for line in podlogs.lines():
        print_line(line)
    for note in podlogs.notes():
        print_line(note, to_stderr=True)
