"""``perdure worker``: a process that runs workflows and activities."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, TypedDict

import typer

from perdure.cli import options as opt
from perdure.cli.errors import EXIT_REFUSED, CommandError

if TYPE_CHECKING:
    from perdure.cli.loading import Definitions

EXAMPLE = "perdure worker orders.workflows --task-queue orders --idle-after 60s"


def worker(  # noqa: PLR0913, PLR0917 - one parameter an option
    modules: Annotated[
        list[str], typer.Argument(metavar="MODULE...", help="Dotted names, or files ending in .py.")
    ],
    task_queue: Annotated[
        str,
        typer.Option(
            "--task-queue", "-q", envvar="PERDURE_TASK_QUEUE", help="What to take tasks from."
        ),
    ] = "default",
    slots: Annotated[
        int, typer.Option(envvar="PERDURE_SLOTS", min=1, help="Tasks at once, of each kind.")
    ] = 100,
    idle_after: Annotated[
        str,
        typer.Option(
            envvar="PERDURE_IDLE_AFTER",
            metavar="DURATION",
            help="Leave when there was nothing to do for that long, e.g. 60s.",
            show_default="never",
        ),
    ] = "",
    once: Annotated[
        bool,
        typer.Option("--once", help="Take one activity, and leave when it has been reported."),
    ] = False,
    build_id: Annotated[
        str, typer.Option(envvar="PERDURE_BUILD_ID", help="Which version of the code this is.")
    ] = "",
    log_level: Annotated[
        str, typer.Option(envvar="PERDURE_LOG_LEVEL", help="debug, info, warning or error.")
    ] = "info",
    address: opt.Address = opt.DEFAULT_ADDRESS,
    namespace: opt.Namespace = "default",
) -> None:
    """Run every workflow and activity that the modules hold, until SIGTERM or Ctrl-C.

    On SIGTERM nothing new is taken; what runs is finished or given back.
    """
    import asyncio

    from perdure.cli.durations import read_duration
    from perdure.cli.loading import load_definitions
    from perdure.cli.logs import set_up_logging

    set_up_logging(log_level)
    idle = read_duration("--idle-after", idle_after) if idle_after else None
    definitions = load_definitions(modules)
    try:
        asyncio.run(
            _work(
                definitions,
                address,
                namespace,
                _Options(
                    task_queue=task_queue,
                    max_concurrent_activities=slots,
                    max_concurrent_workflow_tasks=slots,
                    idle_after=idle,
                    once=once,
                    build_id=build_id or None,
                ),
            )
        )
    except KeyboardInterrupt:
        typer.echo("stopped", err=True)


class _Options(TypedDict):
    """Of the worker, as it takes them."""

    task_queue: str
    max_concurrent_activities: int
    max_concurrent_workflow_tasks: int
    idle_after: timedelta | None
    once: bool
    build_id: str | None


async def _work(definitions: Definitions, address: str, namespace: str, options: _Options) -> None:
    from perdure.cli.access import current_access
    from perdure.client import Client
    from perdure.exceptions import UsageError
    from perdure.worker import Worker, WorkerRefusedError

    try:
        # Lazy: a worker waits for its server, which may be starting in the pod next door.
        access = current_access()
        client = await Client.connect(
            address, namespace=namespace, api_key=access.token(), tls=access.tls(), lazy=True
        )
        await Worker(
            client,
            workflows=definitions.workflows,
            activities=definitions.activities,
            **options,
        ).run()
    except UsageError as error:
        raise CommandError(str(error)) from None
    except WorkerRefusedError as error:
        raise CommandError(str(error), EXIT_REFUSED) from None
