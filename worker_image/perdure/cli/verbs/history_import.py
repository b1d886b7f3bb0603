"""``perdure history import``: have runs go on from histories in a file."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TextIO

import typer

from perdure.cli import options as opt
from perdure.cli.errors import EXIT_REFUSED, CommandError

if TYPE_CHECKING:
    from perdure.client import Service
    from perdure.protocol.verbs import ImportRequest

EXAMPLE = "perdure history import store.jsonl"


def import_(
    file: Annotated[
        str, typer.Argument(metavar="FILE", help="What was exported; - for standard input.")
    ],
    address: opt.Address = opt.DEFAULT_ADDRESS,
) -> None:
    """Make runs from exported histories; open ones go on where they were.

    A run that is there already is left as it is, or brought forward if it has only the beginning
    of its history, so an import may be repeated. A run that is refused does not hold up the others.
    """
    from perdure.cli.asking import with_service
    from perdure.cli.histories import parse_runs

    async def work(service: Service, lines: TextIO) -> int:
        refused = 0
        for request in parse_runs(lines):
            refused += not await _import(service, request)
        return refused

    with _opened(file) as lines:
        refused = with_service(address, lambda service: work(service, lines))
    if refused:
        raise CommandError(
            f"{refused} {'run was' if refused == 1 else 'runs were'} not imported", EXIT_REFUSED
        )


async def _import(service: Service, request: ImportRequest) -> bool:
    """Import one run, and say what came of it."""
    from perdure.cli.outputs import print_line
    from perdure.client import RPCError

    name = f"{request.workflow_id} (run {request.run_id})"
    try:
        answer = await service.call(request)
    except RPCError as error:
        if not error.code or error.code == "Unavailable":
            raise
        print_line(f"perdure: {name} is not imported: {error.message}", to_stderr=True)
        return False
    done = "imported" if answer.imported else "was there already:"
    print_line(f"{done} {name}, {len(request.events)} events")
    return True


@contextmanager
def _opened(file: str) -> Iterator[TextIO]:
    if file == "-":
        yield typer.get_text_stream("stdin")
        return
    try:
        with Path(file).open(encoding="utf-8") as lines:
            yield lines
    except (OSError, UnicodeDecodeError) as error:
        raise CommandError(f"{file} cannot be read: {error}") from None
