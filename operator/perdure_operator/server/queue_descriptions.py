"""Task queues as clients and scalers see them: work, workers and versions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from perdure.protocol.payloads import Millis
from perdure.protocol.verbs import QueueDescription, VersionDescription, WorkerDescription
from perdure_operator.server.sessions import Session
from perdure_operator.server.versions import QueueKey, VersionBook


def describe_queue(
    key: QueueKey,
    waiting: Mapping[str, Sequence[Millis]],
    sessions: Sequence[Session],
    book: VersionBook,
) -> QueueDescription:
    """Return what is known of a queue.

    Args:
        key: Which one.
        waiting: Since when each task waits, by pin.
        sessions: Its workers.
        book: Where its versions are.
    """
    versions = book.of(key)
    backlog: Counter[str] = Counter()
    for pin, since in waiting.items():
        backlog[versions.home(pin)] += len(since)
    held: Counter[str] = Counter()
    for session in sessions:
        held[session.hello.build_id] += _held(session)
    declared = (versions.current, *versions.kept) if versions.current else ()
    return QueueDescription(
        namespace=key[0],
        task_queue=key[1],
        backlog=backlog.total(),
        held=held.total(),
        oldest=min((each for since in waiting.values() for each in since), default=None),
        workers=tuple(_describe_worker(session) for session in sessions),
        current=versions.current,
        kept=versions.kept,
        versions=tuple(
            VersionDescription(
                build_id=each,
                backlog=backlog[each],
                held=held[each],
                open_runs=book.open_runs(key, each),
            )
            for each in declared
        ),
    )


def _describe_worker(session: Session) -> WorkerDescription:
    return WorkerDescription(
        worker_id=session.hello.worker_id,
        identity=session.identity,
        build_id=session.hello.build_id,
        held=_held(session),
        draining=session.is_draining,
    )


def _held(session: Session) -> int:
    return len(session.held_tasks) + len(session.held_attempts)
