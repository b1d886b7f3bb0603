"""What the operator asks of the Kubernetes API.

Every method raises :class:`~perdure_operator.cluster.errors.ClusterError`, by who must act, and
may be called again after any of them: reading has no effect, applying and deleting say what is
wanted rather than what to do, and creating a name twice is a conflict.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from perdure_operator.cluster.kinds import ObjectKind, ObjectRef

Manifest = dict[str, Any]
"""An object as the API's JSON has it. Never changed in place once it was read."""


class Cluster(Protocol):
    """The port."""

    async def get(self, kind: ObjectKind, ref: ObjectRef) -> Manifest | None:
        """Return the object, or None when there is none."""

    async def list(
        self,
        kind: ObjectKind,
        namespace: str,
        *,
        labels: Mapping[str, str],
        fields: Mapping[str, str] | None = None,
    ) -> list[Manifest]:
        """Return the namespace's objects that have all of ``labels`` and of ``fields``."""

    async def create(self, kind: ObjectKind, manifest: Manifest) -> Manifest:
        """Make a new object.

        Raises:
            ConflictError: The name is taken.
        """

    async def apply(self, kind: ObjectKind, manifest: Manifest) -> Manifest:
        """Have the object's fields be as in ``manifest``, and make it when there is none.

        Fields that an earlier ``apply`` named and this one does not are taken back; what others
        wrote stays. With a ``metadata.uid`` it is refused when the object is another one.
        """

    async def apply_status(self, kind: ObjectKind, manifest: Manifest) -> Manifest:
        """Do as :meth:`apply`, for the object's status alone. It makes no object."""

    async def release(
        self, kind: ObjectKind, ref: ObjectRef, *, uid: str, finalizer: str, position: int
    ) -> Manifest:
        """Take a finalizer off this very object, whoever put it on.

        (Applying without it takes back only what was applied: one that came with a manifest from a
        backup, or from an admission policy, would stay for ever.)

        Args:
            kind: The kind.
            ref: Which object.
            uid: Which object of that name.
            finalizer: What is taken off.
            position: Where it stands in the object's list.

        Raises:
            ConflictError: It is another object, or the list is not as it was.
        """

    async def delete(self, kind: ObjectKind, ref: ObjectRef, *, uid: str) -> None:
        """Delete this very object and, in the background, what it owns. Gone is fine."""
