"""The custom resources of Perdure: Workflow, Activity, WorkerPool and Schedule.

Their pydantic models are the single source: the CRDs in ``crds/`` are generated from them (see
:mod:`perdure_operator.model.crds`), and the operator reads what the API server gives it with them.
Nothing here does I/O. What status conditions are called is in
:mod:`perdure_operator.model.conditions`.
"""

from perdure_operator.model.activity import Activity, ActivityPhase, ActivitySpec, ActivityStatus
from perdure_operator.model.checkpoints import Checkpoint
from perdure_operator.model.conditions import (
    Condition,
    ConditionStatus,
    ConditionType,
    Reason,
    clear_condition,
    find_condition,
    is_true,
    set_condition,
)
from perdure_operator.model.durations import DurationError, format_duration, parse_duration
from perdure_operator.model.kinds import (
    ACTIVITY,
    KINDS,
    SCHEDULE,
    WORKER_POOL,
    WORKFLOW,
    ResourceKind,
)
from perdure_operator.model.policies import (
    ActivityTimeouts,
    Failure,
    RetryPolicy,
    WorkflowTimeouts,
)
from perdure_operator.model.resources import (
    API_VERSION,
    FINALIZER,
    GROUP,
    VERSION,
    ObjectMeta,
    Resource,
    ResourceStatus,
)
from perdure_operator.model.schedule import (
    ActiveWorkflow,
    BackfillProgress,
    BufferedStart,
    FailurePause,
    Schedule,
    SchedulePhase,
    ScheduleSpec,
    ScheduleStatus,
)
from perdure_operator.model.schedule_requests import Backfill, OverlapPolicy, Trigger
from perdure_operator.model.schedule_times import Calendar, CalendarRange, Interval
from perdure_operator.model.workerpool import (
    MAX_SHOWN_VERSIONS,
    PoolPhase,
    PoolVersion,
    ScalingMode,
    Versioning,
    WorkerPool,
    WorkerPoolSpec,
    WorkerPoolStatus,
    WorkerSpec,
)
from perdure_operator.model.workflow import (
    DeletionPolicy,
    HistorySummary,
    Retry,
    RetryFrom,
    RetryOutcome,
    RetryRecord,
    Signal,
    Workflow,
    WorkflowPhase,
    WorkflowSpec,
    WorkflowStatus,
)

__all__ = [
    "ACTIVITY",
    "API_VERSION",
    "FINALIZER",
    "GROUP",
    "KINDS",
    "MAX_SHOWN_VERSIONS",
    "SCHEDULE",
    "VERSION",
    "WORKER_POOL",
    "WORKFLOW",
    "ActiveWorkflow",
    "Activity",
    "ActivityPhase",
    "ActivitySpec",
    "ActivityStatus",
    "ActivityTimeouts",
    "Backfill",
    "BackfillProgress",
    "BufferedStart",
    "Calendar",
    "CalendarRange",
    "Checkpoint",
    "Condition",
    "ConditionStatus",
    "ConditionType",
    "DeletionPolicy",
    "DurationError",
    "Failure",
    "FailurePause",
    "HistorySummary",
    "Interval",
    "ObjectMeta",
    "OverlapPolicy",
    "PoolPhase",
    "PoolVersion",
    "Reason",
    "Resource",
    "ResourceKind",
    "ResourceStatus",
    "Retry",
    "RetryFrom",
    "RetryOutcome",
    "RetryPolicy",
    "RetryRecord",
    "ScalingMode",
    "Schedule",
    "SchedulePhase",
    "ScheduleSpec",
    "ScheduleStatus",
    "Signal",
    "Trigger",
    "Versioning",
    "WorkerPool",
    "WorkerPoolSpec",
    "WorkerPoolStatus",
    "WorkerSpec",
    "Workflow",
    "WorkflowPhase",
    "WorkflowSpec",
    "WorkflowStatus",
    "WorkflowTimeouts",
    "clear_condition",
    "find_condition",
    "format_duration",
    "is_true",
    "parse_duration",
    "set_condition",
]
