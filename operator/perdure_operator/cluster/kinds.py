"""The kinds of objects that the operator works with, and where the API serves them."""

from __future__ import annotations

from dataclasses import dataclass

GROUP = "perdure.dev"
VERSION = "v1alpha1"


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class ObjectRef:
    """Which object of a kind."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectKind:
    """A namespaced kind of object."""

    group: str
    """Empty for the core group."""
    version: str
    kind: str
    plural: str
    """Its name in addresses."""

    @property
    def api_version(self) -> str:
        """What a manifest of this kind has as its ``apiVersion``."""
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(self, namespace: str, name: str = "", *, subresource: str = "") -> str:
        """Return the address of the namespace's objects, of one, or of a part of one."""
        root = f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"
        parts = [root, "namespaces", namespace, self.plural, name, subresource]
        return "/".join(part for part in parts if part)


WORKFLOWS = ObjectKind(group=GROUP, version=VERSION, kind="Workflow", plural="workflows")
ACTIVITIES = ObjectKind(group=GROUP, version=VERSION, kind="Activity", plural="activities")
WORKER_POOLS = ObjectKind(group=GROUP, version=VERSION, kind="WorkerPool", plural="workerpools")
SCHEDULES = ObjectKind(group=GROUP, version=VERSION, kind="Schedule", plural="schedules")
JOBS = ObjectKind(group="batch", version="v1", kind="Job", plural="jobs")
PODS = ObjectKind(group="", version="v1", kind="Pod", plural="pods")
CONTROLLER_REVISIONS = ObjectKind(
    group="apps", version="v1", kind="ControllerRevision", plural="controllerrevisions"
)
LEASES = ObjectKind(group="coordination.k8s.io", version="v1", kind="Lease", plural="leases")
EVENTS = ObjectKind(group="events.k8s.io", version="v1", kind="Event", plural="events")
CORE_EVENTS = ObjectKind(group="", version="v1", kind="Event", plural="events")
"""The same Events, as they can be asked for by the object that they are about."""
SECRETS = ObjectKind(group="", version="v1", kind="Secret", plural="secrets")
CONFIG_MAPS = ObjectKind(group="", version="v1", kind="ConfigMap", plural="configmaps")
