"""What the operator keeps in memory: little, and nothing that it could not find out again.

* :class:`LatestBodies`: objects as last heard of or written, until they are looked at.
* :class:`Roster`: which object a run belongs to, while the object is not over.
* :class:`ShownBook`: which Activities show an activity of which run.
* :class:`PoolBook`: the WorkerPools, and who depends on which.
* :class:`QueueBook`: work and workers, as the server last told them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import msgspec

from perdure.protocol.verbs import QueueDescription
from perdure_operator.cluster import Manifest, ObjectRef
from perdure_operator.controllers.keys import Key
from perdure_operator.model import WorkerPool

_REMEMBERED_WRITES = 8
"""Of one object: more than one reconcile makes."""

KEPT_BYTES = 24 * 2**20
"""What objects that we wrote may take until they are looked at again: some 15,000 of them."""


class LatestBodies:
    """Objects as the last event, or the answer to the last write, had them.

    A body is kept only until it is looked at, and what we wrote ourselves as JSON and up to a
    bound, oldest out first, so memory does not grow with the objects there are; who looks again
    and finds nothing asks the API server.
    """

    def __init__(self, kept_bytes: int = KEPT_BYTES) -> None:
        self._bodies: dict[Key, Manifest] = {}
        self._written: dict[Key, deque[str]] = {}
        self._kept: dict[Key, bytes] = {}
        self._room = kept_bytes

    def put(self, key: Key, body: Manifest) -> None:
        """Keep an object as it is now."""
        self._drop(key)
        self._bodies[key] = body

    def has_heard(self, key: Key) -> bool:
        """Tell whether an event has come since the object was last looked at."""
        return key in self._bodies

    def take(self, key: Key) -> Manifest | None:
        """Return the object, if it was heard of or written since it was last looked at."""
        kept = self._drop(key)
        heard = self._bodies.pop(key, None)
        if heard is not None or kept is None:
            return heard
        body: Manifest = msgspec.json.decode(kept)
        return body

    def forget(self, key: Key) -> None:
        """The object is over or gone."""
        self._drop(key)
        self._bodies.pop(key, None)
        self._written.pop(key, None)

    def wrote(self, key: Key, body: Manifest) -> None:
        """We have just written the object: the event of that will tell nothing new."""
        versions = self._written.setdefault(key, deque(maxlen=_REMEMBERED_WRITES))
        versions.append(body["metadata"]["resourceVersion"])
        self._drop(key)
        kept = msgspec.json.encode(body)
        self._kept[key] = kept
        self._room -= len(kept)
        while self._room < 0:
            self._drop(next(iter(self._kept)))

    def is_echo(self, key: Key, body: Manifest) -> bool:
        """Tell whether an event is that of a write of our own."""
        return body["metadata"]["resourceVersion"] in self._written.get(key, ())

    def _drop(self, key: Key) -> bytes | None:
        kept = self._kept.pop(key, None)
        if kept is not None:
            self._room += len(kept)
        return kept


class Started(NamedTuple):
    """A run that was started for an object."""

    uid: str
    """The object's: another one of that name did not ask for this run."""
    run_id: str


class Roster:
    """Which object a run belongs to, by namespace and workflow id."""

    def __init__(self) -> None:
        self._keys: dict[tuple[str, str], Key] = {}
        self._ids: dict[Key, tuple[str, str]] = {}
        self._seen: dict[Key, int] = {}
        self._started: dict[Key, Started] = {}
        self._suspects: set[Key] = set()

    def __len__(self) -> int:
        return len(self._keys)

    def __iter__(self) -> Iterator[Key]:
        """Yield every object that is not over."""
        return iter(tuple(self._ids))

    def put(self, key: Key, workflow_id: str) -> bool:
        """The object is not over, and its run has this id; return whether that is news."""
        if self._ids.get(key) == (key.ref.namespace, workflow_id):
            return False
        self.remove(key)
        self._keys[key.ref.namespace, workflow_id] = key
        self._ids[key] = (key.ref.namespace, workflow_id)
        return True

    def remove(self, key: Key) -> None:
        """The object is over or gone."""
        self._seen.pop(key, None)
        self._started.pop(key, None)
        known = self._ids.pop(key, None)
        if known is not None and self._keys.get(known) == key:
            del self._keys[known]

    def suspect(self, key: Key) -> None:
        """A run goes on that may belong to this object, of which no open run is known."""
        self._suspects.add(key)

    def is_suspect(self, key: Key) -> bool:
        """Tell whether the server is to be asked though the object is over."""
        return key in self._suspects

    def clear(self, key: Key) -> None:
        """The server was asked."""
        self._suspects.discard(key)

    def find(self, namespace: str, workflow_id: str) -> Key | None:
        """Return the object that a run belongs to, if it is to be told."""
        return self._keys.get((namespace, workflow_id))

    def saw(self, key: Key, events: int) -> None:
        """The object's status tells of so many events of its run."""
        if key in self._ids:
            self._seen[key] = events

    def started(self, key: Key, run: Started) -> None:
        """The object's run is there, and its status does not say so yet."""
        self._started[key] = run

    def run_of(self, key: Key) -> Started | None:
        """Return the run that was started for an object, if that is remembered."""
        return self._started.get(key)

    def reported(self, key: Key) -> None:
        """The object's status names its run."""
        self._started.pop(key, None)

    def has_seen(self, key: Key, events: int) -> bool:
        """Tell whether the status tells of that many events already."""
        return self._seen.get(key, 0) >= events


class ShownBook:
    """The Activities that show what a run scheduled, while they are not over."""

    def __init__(self) -> None:
        self._keys: dict[str, dict[int, Key]] = {}
        self._shows: dict[Key, tuple[str, int]] = {}

    def put(self, key: Key, run_id: str, seq: int) -> None:
        """This Activity shows this activity of a run."""
        self.remove(key)
        self._keys.setdefault(run_id, {})[seq] = key
        self._shows[key] = (run_id, seq)

    def remove(self, key: Key) -> None:
        """The Activity is over or gone."""
        run_id, seq = self._shows.pop(key, ("", 0))
        of_run = self._keys.get(run_id, {})
        if of_run.get(seq) == key:
            del of_run[seq]
        if run_id and not of_run:
            self._keys.pop(run_id, None)

    def of_run(self, run_id: str) -> list[Key]:
        """Return the Activities that show something of a run."""
        return list(self._keys.get(run_id, {}).values())

    def seqs(self, run_id: str) -> frozenset[int]:
        """Return which activities of a run are shown."""
        return frozenset(self._keys.get(run_id, {}))


class PoolBook:
    """The WorkerPools there are, and the objects whose runs go to each."""

    def __init__(self) -> None:
        self._pools: dict[ObjectRef, WorkerPool] = {}
        self._dependents: dict[ObjectRef, dict[Key, str]] = {}
        self._pool_of: dict[Key, ObjectRef] = {}

    def get(self, ref: ObjectRef) -> WorkerPool | None:
        """Return a pool, if it was heard of."""
        return self._pools.get(ref)

    def put(self, ref: ObjectRef, pool: WorkerPool) -> None:
        """The pool is like this now."""
        self._pools[ref] = pool

    def remove(self, ref: ObjectRef) -> None:
        """The pool is gone."""
        self._pools.pop(ref, None)

    def refs(self) -> list[ObjectRef]:
        """Return every pool."""
        return list(self._pools)

    def with_code(self) -> list[tuple[ObjectRef, str]]:
        """Return the pools whose code is in a ConfigMap, each with its name."""
        return [
            (ref, pool.spec.code.config_map)
            for ref, pool in self._pools.items()
            if pool.spec.code is not None
        ]

    def on_queue(self, namespace: str, task_queue: str) -> list[ObjectRef]:
        """Return the pools whose workers poll a task queue."""
        return [
            ref
            for ref, pool in self._pools.items()
            if ref.namespace == namespace and pool.task_queue == task_queue
        ]

    def depend(self, key: Key, pool: ObjectRef, *, shows: str) -> None:
        """An object's run goes to this pool, and this is what it shows of the workers."""
        self.release(key)
        self._dependents.setdefault(pool, {})[key] = shows
        self._pool_of[key] = pool

    def release(self, key: Key) -> None:
        """An object is over or gone."""
        pool = self._pool_of.pop(key, None)
        if pool is None:
            return
        of_pool = self._dependents[pool]
        of_pool.pop(key, None)
        if not of_pool:
            del self._dependents[pool]

    def to_be_told(self, pool: ObjectRef, workers: str) -> list[Key]:
        """Return the dependents that show otherwise than ``workers``, which is so now.

        Thousands of runs may wait on one pool, whose workers come and go: only those that show
        something else than what is so now are worth looking at.
        """
        return [key for key, shown in self._dependents.get(pool, {}).items() if shown != workers]


class QueueChange(NamedTuple):
    """A task queue is not as it was."""

    before: QueueDescription
    after: QueueDescription


class QueueBook:
    """Work and workers by task queue."""

    def __init__(self) -> None:
        self._queues: dict[tuple[str, str], QueueDescription] | None = None

    def find(self, namespace: str, task_queue: str) -> QueueDescription | None:
        """Return a queue; None while the server has not told."""
        if self._queues is None:
            return None
        nothing = QueueDescription(namespace=namespace, task_queue=task_queue)
        return self._queues.get((namespace, task_queue), nothing)

    def update(self, queues: Iterable[QueueDescription]) -> list[QueueChange]:
        """Take what the server tells, and return what is not as it was.

        A queue that is told of no more is empty, and one that is told of for the first time was.
        """
        before = self._queues or {}
        self._queues = {(each.namespace, each.task_queue): each for each in queues}
        changes = []
        for name in before.keys() | self._queues.keys():
            nothing = QueueDescription(namespace=name[0], task_queue=name[1])
            was, now = before.get(name, nothing), self._queues.get(name, nothing)
            if was != now:
                changes.append(QueueChange(was, now))
        return changes

    @property
    def is_known(self) -> bool:
        """Whether the server has told."""
        return self._queues is not None

    def forget(self) -> None:
        """The server is away: what it told may be wrong by now."""
        self._queues = None
