"""What the work queue holds: which object, of which kind."""

from __future__ import annotations

from dataclasses import dataclass

from perdure_operator.cluster import Manifest, ObjectKind, ObjectRef
from perdure_operator.cluster.kinds import GROUP, VERSION

RUNS = ObjectKind(group=GROUP, version=VERSION, kind="Run", plural="runs")
"""No kind of the API server's: a run that no object stands for, by its workflow id."""


@dataclass(frozen=True, slots=True)
class Key:
    """An object to be looked at."""

    kind: ObjectKind
    ref: ObjectRef

    def __str__(self) -> str:
        return f"{self.kind.kind} {self.ref}"


def key_of(kind: ObjectKind, body: Manifest) -> Key:
    """Return the key of an object."""
    metadata = body["metadata"]
    return Key(kind, ObjectRef(namespace=metadata["namespace"], name=metadata["name"]))
