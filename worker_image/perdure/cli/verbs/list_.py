"""``perdure list``: the runs that there are."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import typer

from perdure.cli import options as opt
from perdure.cli.errors import CommandError

if TYPE_CHECKING:
    from perdure.client import Service
    from perdure.protocol.verbs import ListRequest, RunSummary

EXAMPLE = "perdure list --status Running --type OrderWorkflow"


def list_runs(  # noqa: PLR0913, PLR0917 - a parameter is an option of the command
    status: Annotated[
        str, typer.Option(help="Running, Completed, Failed, Canceled, Terminated or TimedOut.")
    ] = "",
    workflow_type: Annotated[str, typer.Option("--type", help="Only of this type.")] = "",
    workflow_id: Annotated[str, typer.Option("--id", help="Only of this id.")] = "",
    limit: Annotated[int, typer.Option(min=1, help="How many, newest first.")] = 100,
    everywhere: Annotated[
        bool, typer.Option("--all-namespaces", "-A", help="Those of every namespace.")
    ] = False,
    address: opt.Address = opt.DEFAULT_ADDRESS,
    namespace: opt.Namespace = "default",
    output: opt.OutputAs = opt.Output.TABLE,
) -> None:
    """List runs, newest first."""
    from perdure.cli.asking import with_service
    from perdure.cli.outputs import print_data, print_line, to_data
    from perdure.protocol.verbs import ListRequest

    request = ListRequest(
        namespace="" if everywhere else namespace,
        status=_status(status),
        workflow_type=workflow_type,
        workflow_id=workflow_id,
    )
    runs = with_service(address, lambda service: _pages(service, request, limit))
    match output:
        case opt.Output.NAME:
            for each in runs:
                print_line(each.workflow_id)
        case opt.Output.TABLE:
            _print_table(runs, everywhere=everywhere)
        case _:
            print_data([to_data(each) for each in runs], output)


def _status(given: str) -> str:
    from perdure.protocol.verbs import RunStatus

    known = {each.lower(): each.value for each in RunStatus}
    if given and given.lower() not in known:
        raise CommandError(f"--status {given} is none of {', '.join(known.values())}")
    return known.get(given.lower(), "")


async def _pages(service: Service, request: ListRequest, limit: int) -> list[RunSummary]:
    import msgspec

    runs: list[RunSummary] = []
    while len(runs) < limit:
        request = msgspec.structs.replace(request, limit=min(500, limit - len(runs)))
        page = await service.call(request)
        runs += page.runs
        if not page.next_page:
            break
        request = msgspec.structs.replace(request, page=page.next_page)
    return runs


def _print_table(runs: list[RunSummary], *, everywhere: bool) -> None:
    from perdure.cli.outputs import ago, print_line, table

    if not runs:
        print_line("no runs found", to_stderr=True)
        return
    now = time.time_ns() // 1_000_000
    rows = [
        [
            *([each.namespace] if everywhere else []),
            each.workflow_id,
            each.workflow_type,
            each.status.value,
            each.current_step or "-",
            ago(each.started, now),
            str(each.events),
        ]
        for each in runs
    ]
    head = ["NAMESPACE"] if everywhere else []
    for line in table([*head, "ID", "TYPE", "STATUS", "STEP", "STARTED", "EVENTS"], rows):
        print_line(line)
