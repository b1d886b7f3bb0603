"""What the pod of an activity is made from: any container, or a worker that is not like the others.

The fields are those that people reach for; whatever else a pod can have goes into ``pod``. An
activity without a type *is* its container; one with a type is registered code of a pool, and then
every field changes what that pool's workers are like.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from perdure_operator.model.fields import (
    AnyObject,
    ImageName,
    ObjectName,
    SpecModel,
    UniqueBy,
)
from perdure_operator.model.pod_templates import NamedObject, PodTemplate
from perdure_operator.model.workerpool import EnvVar, ImagePullPolicy

MAIN_CONTAINER = "main"
"""The container of the pod that is the activity, when it is no worker."""

Word = Annotated[str, Field(max_length=32768)]
"""One argument of a command line."""


class ActivityTemplate(SpecModel):
    """A pod for each attempt of an activity."""

    image: ImageName | None = None
    """The container's image. With a type, and without it: the pool's."""
    image_pull_policy: ImagePullPolicy | None = None
    """When a node fetches the image. Without it: Always for the tag latest, else IfNotPresent."""
    command: Annotated[tuple[Word, ...], Field(max_length=64)] = ()
    """What the container runs, with its first arguments. Without it: what the image says."""
    args: Annotated[tuple[Word, ...], Field(max_length=256)] = ()
    """The arguments. $(PERDURE_INPUT) is replaced by the activity's input, as JSON."""
    env: Annotated[tuple[EnvVar, ...], Field(max_length=256), UniqueBy("name")] = ()
    """Environment variables of the container."""
    resources: AnyObject | None = None
    """What the container needs and may take: requests and limits."""
    volume_mounts: Annotated[tuple[AnyObject, ...], Field(max_length=64)] = ()
    """Where the container has the volumes, as in a container of a pod."""
    volumes: Annotated[tuple[NamedObject, ...], Field(max_length=64)] = ()
    """Volumes of the pod, as in a pod."""
    tolerations: Annotated[tuple[AnyObject, ...], Field(max_length=64)] = ()
    """Taints of nodes that the pod tolerates, as in a pod."""
    image_pull_secrets: Annotated[tuple[AnyObject, ...], Field(max_length=16)] = ()
    """Secrets with the registry's credentials, as in a pod: [{name: registry}]."""
    node_selector: Annotated[
        dict[str, Annotated[str, Field(max_length=63)]], Field(max_length=64)
    ] = Field(default_factory=dict)
    """Labels that the node must have."""
    service_account_name: ObjectName | None = None
    """The ServiceAccount the pod runs as. Without it: with a type the pool's, else the
    namespace's default one."""
    non_retryable_exit_codes: Annotated[
        tuple[Annotated[int, Field(ge=1, le=255)], ...], Field(max_length=64)
    ] = ()
    """Exit codes of the container after which there is no other attempt."""
    pod: PodTemplate | None = None
    """A pod template (metadata and spec) laid over all of this: a security context, affinity,
    more containers. The activity's own container is named main; with a type it is named worker."""
