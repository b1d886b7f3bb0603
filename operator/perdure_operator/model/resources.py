"""What every custom resource has: its identity, a spec and a status.

A resource is read from the dictionary that the Kubernetes API gave and is never changed; what the
operator wants to be different is planned from it and applied elsewhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field

from perdure_operator.model.conditions import Condition
from perdure_operator.model.fields import CamelModel, StatusModel, Time, UniqueBy

GROUP = "perdure.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"

FINALIZER = f"{GROUP}/end-what-was-started"
"""Keeps a resource until what it started has ended as its deletionPolicy says."""


class ObjectMeta(StatusModel):
    """The part of a resource's metadata that the operator reads."""

    name: str
    """The resource's name."""
    namespace: str = "default"
    """The namespace it is in."""
    uid: str = ""
    """What tells it from an earlier one of the same name."""
    generation: int = 0
    """Counts the changes of its spec."""
    resource_version: str = ""
    """Which version of the stored object this is."""
    labels: dict[str, str] = Field(default_factory=dict)
    """Its labels."""
    annotations: dict[str, str] = Field(default_factory=dict)
    """Its annotations."""
    finalizers: tuple[str, ...] = ()
    """What keeps it from being removed."""
    creation_timestamp: Time | None = None
    """When it was created."""
    deletion_timestamp: Time | None = None
    """When its deletion was asked for."""

    @property
    def is_being_deleted(self) -> bool:
        """Whether its deletion was asked for."""
        return self.deletion_timestamp is not None


NOT_OBSERVED = -1
"""The ``observedGeneration`` that the API server gives a new object."""


class ResourceStatus(StatusModel):
    """What the status of every kind has."""

    observed_generation: int | None = Field(default=None, ge=NOT_OBSERVED)
    """The generation of the spec that this status was written for; -1 until it was looked at."""
    conditions: Annotated[tuple[Condition, ...], Field(max_length=32), UniqueBy("type")] = ()
    """Ready, Reconciling, Stalled, WorkersReady; Complete and Failed for what runs to its end."""


class Resource(CamelModel):
    """A custom resource of Perdure's; each kind says what its spec and status are."""

    KIND: ClassVar[str]

    api_version: Literal["perdure.dev/v1alpha1"] = "perdure.dev/v1alpha1"
    """The group and version of this object's schema."""
    metadata: ObjectMeta
    """The object's identity, labels and annotations."""

    @classmethod
    def from_manifest(cls, manifest: Mapping[str, Any]) -> Self:
        """Read the resource from its manifest.

        Raises:
            pydantic.ValidationError: The spec is not as the schema wants it.
        """
        return cls.model_validate(manifest)

    def to_manifest(self) -> dict[str, Any]:
        """Return the resource as it is written in JSON, without the fields that are not set."""
        return self.model_dump(mode="json", exclude_none=True)
