"""What a pod is like that runs one activity and nothing else."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

PullPolicy = Literal["Always", "IfNotPresent", "Never"]
EnvValue = str | Mapping[str, Any]
"""A value, or where it comes from: ``{"secretKeyRef": {"name": "card", "key": "token"}}``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pod:
    """A pod of its own for an activity: each attempt is a Job that the operator makes.

    What is not given is as in the WorkerPool that serves the activity's task queue. Mappings and
    lists are what a manifest of Kubernetes has in the same place, with its own spelling of keys.
    """

    image: str = ""
    """Where the code is; by default the pool's. It must be made FROM perdure-worker."""
    image_pull_policy: PullPolicy | None = None
    """When a node fetches the image."""
    image_pull_secrets: Sequence[str] = ()
    """Names of Secrets with the registry's credentials."""
    env: Mapping[str, EnvValue] = field(default_factory=dict)
    """Environment variables, added to the pool's."""
    resources: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """``{"requests": {"cpu": "500m"}, "limits": {"memory": "2Gi", "nvidia.com/gpu": 1}}``."""
    node_selector: Mapping[str, str] = field(default_factory=dict)
    """Labels that the node must have."""
    tolerations: Sequence[Mapping[str, Any]] = ()
    """Taints of nodes that it may run on all the same."""
    volumes: Sequence[Mapping[str, Any]] = ()
    """``[{"name": "models", "persistentVolumeClaim": {"claimName": "models"}}]``."""
    volume_mounts: Sequence[Mapping[str, Any]] = ()
    """``[{"name": "models", "mountPath": "/models"}]``."""
    service_account: str = ""
    """Whom it runs as in the cluster."""
    template: Mapping[str, Any] = field(default_factory=dict)
    """A pod template (``metadata``, ``spec``) that is laid over all of this, for the rest."""

    def __post_init__(self) -> None:
        for name, value in self.env.items():
            if not isinstance(value, (str, Mapping)):
                raise ValueError(
                    f"env {name!r} is {value!r}: give a string, or where it comes from, such as "
                    '{"secretKeyRef": {"name": ..., "key": ...}}'
                )
        for name, needs in self.resources.items():
            if name not in ("requests", "limits", "claims") or not isinstance(needs, Mapping):
                raise ValueError(
                    f'resources has {name!r}: give {{"requests": {{"cpu": "1"}}, "limits": '
                    '{"memory": "2Gi"}}'
                )
        for what in ("image_pull_secrets", "tolerations", "volumes", "volume_mounts"):
            if isinstance(getattr(self, what), (str, Mapping)):
                raise ValueError(f"{what} is one thing: give a list of them")

    def to_template(self) -> dict[str, Any]:
        """Return it as an Activity's ``spec.template``, without what is not given.

        Raises:
            ValueError: something in it is nothing that JSON can hold.
        """
        written: dict[str, Any] = {
            "image": self.image,
            "imagePullPolicy": self.image_pull_policy,
            "imagePullSecrets": [{"name": each} for each in self.image_pull_secrets],
            "env": [_variable(name, value) for name, value in self.env.items()],
            "resources": {name: dict(needs) for name, needs in self.resources.items()},
            "nodeSelector": dict(self.node_selector),
            "tolerations": [dict(each) for each in self.tolerations],
            "volumes": [dict(each) for each in self.volumes],
            "volumeMounts": [dict(each) for each in self.volume_mounts],
            "serviceAccountName": self.service_account,
            "pod": dict(self.template),
        }
        given = {name: value for name, value in written.items() if value}
        try:
            # A plain copy: nobody changes it under way, and history can hold it.
            plain: dict[str, Any] = json.loads(json.dumps(given, allow_nan=False))
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"a pod is written as JSON, and this one cannot be: {error}"
            ) from error
        return plain


def _variable(name: str, value: EnvValue) -> dict[str, Any]:
    if isinstance(value, str):
        return {"name": name, "value": value}
    return {"name": name, "valueFrom": dict(value)}
