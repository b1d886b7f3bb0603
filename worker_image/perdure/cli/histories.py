"""Histories as files: JSON lines, one or many runs in a file.

Each run is a header, which says whose history follows, how many events it has and what their
digest is, and then its events, one a line, as they were recorded::

    {"history":1,"namespace":"default","workflowId":"order-42","runId":"0c9…","events":2,…}
    {"id":1,"time":"2026-01-01T08:23:11.204Z","type":"WorkflowStarted","workflow_type":"Order",…}
    {"id":2,"time":"2026-01-01T08:23:11.209Z","type":"WorkflowTaskCompleted","through":1,…}

Bytes, as payloads have them, are in base64. So a store of any size is written and read run by
run, and the tools that know lines and JSON can look into it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from itertools import islice
from typing import Any

import msgspec

from perdure.cli.errors import CommandError
from perdure.cli.outputs import instant
from perdure.protocol.events import Event, HistoryEvent
from perdure.protocol.verbs import ImportRequest, RunDescription

VERSION = 1
_EPOCH = datetime.fromisoformat("1970-01-01T00:00:00Z")


class Header(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What stands above a run's events."""

    history: int
    """The version of the format."""
    namespace: str
    workflow_id: str
    run_id: str
    workflow_type: str = ""
    status: str = ""
    events: int
    digest: str
    watched: bool = False


def format_run(run: RunDescription, events: Sequence[HistoryEvent]) -> Iterator[str]:
    """Yield a run's lines."""
    header = Header(
        history=VERSION,
        namespace=run.namespace,
        workflow_id=run.workflow_id,
        run_id=run.run_id,
        workflow_type=run.workflow_type,
        status=run.status.value,
        events=len(events),
        digest=run.digest,
        watched=run.watched,
    )
    yield msgspec.json.encode(header).decode()
    for each in events:
        line = {"id": each.id, "time": instant(each.time), **msgspec.to_builtins(each.event)}
        yield msgspec.json.encode(line).decode()


def parse_runs(lines: Iterable[str]) -> Iterator[ImportRequest]:
    """Yield the runs of a file; one that is cut short or not ours is not yielded.

    Raises:
        CommandError: a line is not what it should be; the message says which.
    """
    numbered = ((number, line) for number, line in enumerate(lines, 1) if line.strip())
    for number, line in numbered:
        header = _parse_header(number, line)
        events = tuple(_parse_event(*each) for each in islice(numbered, header.events))
        if len(events) < header.events:
            raise CommandError(
                f"the file ends within the history of {header.workflow_id!r}: it has "
                f"{len(events)} of its {header.events} events; export it again"
            )
        yield ImportRequest(
            namespace=header.namespace,
            workflow_id=header.workflow_id,
            run_id=header.run_id,
            events=events,
            digest=header.digest,
            watched=header.watched,
        )


def _parse_header(number: int, line: str) -> Header:
    try:
        header = msgspec.json.decode(line, type=Header)
    except msgspec.DecodeError as error:
        raise CommandError(
            f"line {number} is not the header of a history ({error}); give a file that "
            "`perdure history export` wrote"
        ) from None
    if header.history != VERSION:
        raise CommandError(
            f"line {number}: this history is of version {header.history}, and this perdure reads "
            f"version {VERSION}"
        )
    return header


def _parse_event(number: int, line: str) -> HistoryEvent:
    try:
        fields: dict[str, Any] = msgspec.json.decode(line, type=dict[str, Any])
        event_id, time = fields.pop("id"), datetime.fromisoformat(fields.pop("time"))
        millis = (time - _EPOCH) // timedelta(milliseconds=1)
        return HistoryEvent(event_id, millis, msgspec.convert(fields, Event))
    except (msgspec.DecodeError, KeyError, TypeError, ValueError) as error:
        raise CommandError(f"line {number} is not an event: {error}") from None
