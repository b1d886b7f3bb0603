"""The Kubernetes API as the operator sees it: a port of six verbs, and its one adapter.

``port`` says what can be asked, ``kinds`` of what, ``errors`` what can go wrong; ``limiter``
keeps the operator from flooding the API server; ``reviews`` is a second, small port by which the
server asks who somebody is and what they may do; ``api`` is the adapter over the asyncio client
and the only module that imports it. Objects are plain dictionaries, as JSON gave them.
"""

from perdure_operator.cluster.errors import (
    ClusterError,
    ConflictError,
    ForbiddenError,
    InvalidError,
    NotFoundError,
    NotLeadingError,
    UnavailableError,
)
from perdure_operator.cluster.kinds import (
    ACTIVITIES,
    CONFIG_MAPS,
    CONTROLLER_REVISIONS,
    CORE_EVENTS,
    EVENTS,
    JOBS,
    LEASES,
    PODS,
    SCHEDULES,
    SECRETS,
    WORKER_POOLS,
    WORKFLOWS,
    ObjectKind,
    ObjectRef,
)
from perdure_operator.cluster.port import Cluster, Manifest
from perdure_operator.cluster.reviews import (
    Identity,
    Reviewer,
    Right,
    RightVerdict,
    TokenVerdict,
)

__all__ = [
    "ACTIVITIES",
    "CONFIG_MAPS",
    "CONTROLLER_REVISIONS",
    "CORE_EVENTS",
    "EVENTS",
    "JOBS",
    "LEASES",
    "PODS",
    "SCHEDULES",
    "SECRETS",
    "WORKER_POOLS",
    "WORKFLOWS",
    "Cluster",
    "ClusterError",
    "ConflictError",
    "ForbiddenError",
    "Identity",
    "InvalidError",
    "Manifest",
    "NotFoundError",
    "NotLeadingError",
    "ObjectKind",
    "ObjectRef",
    "Reviewer",
    "Right",
    "RightVerdict",
    "TokenVerdict",
    "UnavailableError",
]
