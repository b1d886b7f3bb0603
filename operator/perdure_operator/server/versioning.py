"""``set-current-version``: what it takes, and what is refused."""

from __future__ import annotations

from perdure.protocol.verbs import Done, SetCurrentVersionRequest
from perdure_operator.server.errors import VerbError
from perdure_operator.server.host import Host
from perdure_operator.server.limits import MAX_ID_LENGTH
from perdure_operator.store.port import QueueVersions

MAX_KEPT = 1_000
"""Versions of one task queue that are kept beside the current one."""


async def set_current(host: Host, request: SetCurrentVersionRequest) -> Done:
    """Have new runs of a task queue go to a version."""
    await host.declare_versions(read_versions(request))
    return Done()


def read_versions(request: SetCurrentVersionRequest) -> QueueVersions:
    """Return what is declared by a request.

    Raises:
        VerbError: it makes no sense; the message says why.
    """
    where = f"task queue {request.task_queue!r} in namespace {request.namespace!r}"
    kept = tuple(dict.fromkeys(each for each in request.kept if each != request.build_id))
    if not request.namespace or not request.task_queue:
        raise VerbError("Invalid", "set-current-version: namespace and task_queue must be given")
    if kept and not request.build_id:
        raise VerbError("Invalid", f"{where}: versions cannot be kept without a current one")
    if len(kept) > MAX_KEPT:
        raise VerbError(
            "Invalid", f"{where}: {len(kept)} versions are to be kept, at most {MAX_KEPT} can be"
        )
    for each in (request.task_queue, request.build_id, *kept):
        if len(each) > MAX_ID_LENGTH:
            raise VerbError("Invalid", f"{where}: {each[:40]!r}… is longer than {MAX_ID_LENGTH}")
    if not all(kept):
        raise VerbError("Invalid", f"{where}: a version that is kept must have a build id")
    return QueueVersions(
        namespace=request.namespace,
        task_queue=request.task_queue,
        current=request.build_id,
        kept=kept,
    )
