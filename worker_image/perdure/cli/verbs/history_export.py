"""``perdure history export``: write histories to a file, for another server or for keeping."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TextIO

import typer

from perdure.cli import options as opt
from perdure.cli.errors import CommandError

if TYPE_CHECKING:
    from perdure.client import Service
    from perdure.protocol.events import HistoryEvent
    from perdure.protocol.verbs import DescribeRequest, RunDescription

EXAMPLE = "perdure history export --all --file store.jsonl"


def export(
    workflow_id: Annotated[
        str, typer.Argument(metavar="ID", help="The workflow id.", show_default=False)
    ] = "",
    everything: Annotated[
        bool, typer.Option("--all", help="Every run of the namespace, closed ones too.")
    ] = False,
    all_namespaces: Annotated[
        bool, typer.Option("--all-namespaces", "-A", help="Every run that the server has.")
    ] = False,
    file: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Where to.", show_default="standard output"),
    ] = None,
    run_id: opt.RunId = "",
    address: opt.Address = opt.DEFAULT_ADDRESS,
    namespace: opt.Namespace = "default",
) -> None:
    """Write the history of a run, or of all, so that `perdure history import` can read it.

    What an open run does after it was exported is not in the file: stop its workers before.
    """
    from msgspec import structs

    from perdure.cli.asking import with_service
    from perdure.cli.histories import format_run
    from perdure.cli.outputs import print_line
    from perdure.protocol.verbs import DescribeRequest

    wants_all = everything or all_namespaces
    if wants_all == bool(workflow_id):
        raise CommandError("give the id of a workflow, or --all (-A for every namespace)")

    async def work(service: Service, out: TextIO) -> int:
        if wants_all:
            wanted = _all_runs(service, "" if all_namespaces else namespace)
        else:
            target = DescribeRequest(namespace=namespace, workflow_id=workflow_id, run_id=run_id)
            wanted = _one(target)
        count = 0
        async for each in wanted:
            run = await service.call(each)
            if run.pending_batches:
                # Results of items wait beside history; only that can be carried elsewhere.
                run = await service.call(structs.replace(each, settle=True))
            out.writelines(f"{line}\n" for line in format_run(run, await _events(service, run)))
            count += 1
        return count

    with _opened(file) as out:
        count = with_service(address, lambda service: work(service, out))
    if file is not None:
        print_line(f"exported {count} {'run' if count == 1 else 'runs'} to {file}")


async def _one(target: DescribeRequest) -> AsyncIterator[DescribeRequest]:
    yield target


async def _all_runs(service: Service, namespace: str) -> AsyncIterator[DescribeRequest]:
    """Yield every run, newest first."""
    from perdure.protocol.verbs import DescribeRequest, ListRequest

    page = ""
    while True:
        runs = await service.call(ListRequest(namespace=namespace, limit=500, page=page))
        for each in runs.runs:
            yield DescribeRequest(
                namespace=each.namespace, workflow_id=each.workflow_id, run_id=each.run_id
            )
        page = runs.next_page
        if not page:
            return


async def _events(service: Service, run: RunDescription) -> list[HistoryEvent]:
    from perdure.cli.following import read_history
    from perdure.protocol.messages import RunRef

    ref = RunRef(run.namespace, run.workflow_id, run.run_id)
    # What was recorded since the run was described is not what the digest is of.
    return [each async for each in read_history(service, ref) if each.id <= run.events]


@contextmanager
def _opened(file: Path | None) -> Iterator[TextIO]:
    """Open the file; it is there under its name only when all of it is written."""
    if file is None:
        yield typer.get_text_stream("stdout")
        return
    unfinished = file.with_name(f"{file.name}.partial")
    try:
        with unfinished.open("w", encoding="utf-8") as out:
            yield out
        unfinished.replace(file)
    except OSError as error:
        raise CommandError(f"{file} cannot be written: {error.strerror}") from None
    finally:
        unfinished.unlink(missing_ok=True)
