"""What both sides of a call need: retry policies, id policies, pods, raw values.

Names and meaning are Temporal's. Durations are :class:`datetime.timedelta` here and integer
milliseconds in :mod:`perdure.protocol`; the conversions live on the types.
"""

from perdure.common._pods import Pod
from perdure.common._policies import (
    ActivityIDConflictPolicy,
    ActivityIDReusePolicy,
    QueryRejectCondition,
    RetryPolicy,
    WorkflowIDConflictPolicy,
    WorkflowIDReusePolicy,
)
from perdure.common._times import from_instant, from_millis, to_instant, to_millis
from perdure.common._values import RawValue

__all__ = [
    "ActivityIDConflictPolicy",
    "ActivityIDReusePolicy",
    "Pod",
    "QueryRejectCondition",
    "RawValue",
    "RetryPolicy",
    "WorkflowIDConflictPolicy",
    "WorkflowIDReusePolicy",
    "from_instant",
    "from_millis",
    "to_instant",
    "to_millis",
]
