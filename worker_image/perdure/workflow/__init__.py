"""What workflow code is written with.

A workflow is a class marked with :func:`defn` whose :func:`run` coroutine reads like any other.
While it runs it may use the functions of this package and ordinary asyncio; everything that it
waits for is recorded, so that the same code on the same history takes the same path on any worker.
Side effects belong in :func:`step` (light, in the same worker), :func:`execute_activity`, and, for
any image in any language, :func:`execute_container`.
"""

from perdure.exceptions import NondeterminismError
from perdure.workflow import unsafe
from perdure.workflow._activities import execute_activity, start_activity
from perdure.workflow._activity_methods import (
    execute_activity_class,
    execute_activity_method,
    start_activity_class,
    start_activity_method,
)
from perdure.workflow._batch_handle import Batch, BatchItem, BatchProgress
from perdure.workflow._batches import map_activities
from perdure.workflow._clock import now, random, sleep, time, time_ns, uuid4
from perdure.workflow._containers import ContainerConfig, execute_container, start_container
from perdure.workflow._decorators import defn, init, query, run, signal
from perdure.workflow._definition import HandlerUnfinishedPolicy, UnfinishedSignalHandlersWarning
from perdure.workflow._errors import ReadOnlyContextError
from perdure.workflow._forbidden import ForbiddenCallError
from perdure.workflow._handlers import (
    all_handlers_finished,
    cancellation_reason,
    get_dynamic_query_handler,
    get_dynamic_signal_handler,
    get_query_handler,
    get_signal_handler,
    in_workflow,
    info,
    instance,
    is_failure_exception,
    memo,
    memo_value,
    payload_converter,
    set_dynamic_query_handler,
    set_dynamic_signal_handler,
    set_query_handler,
    set_signal_handler,
)
from perdure.workflow._info import Info
from perdure.workflow._logging import LoggerAdapter, logger
from perdure.workflow._options import ActivityConfig
from perdure.workflow._requests import ActivityCancellationType, ActivityHandle
from perdure.workflow._runtime import NotInWorkflowError
from perdure.workflow._steps import (
    LocalActivityConfig,
    execute_local_activity,
    start_local_activity,
    step,
)
from perdure.workflow._waiting import as_completed, wait, wait_condition

__all__ = [
    "ActivityCancellationType",
    "ActivityConfig",
    "ActivityHandle",
    "Batch",
    "BatchItem",
    "BatchProgress",
    "ContainerConfig",
    "ForbiddenCallError",
    "HandlerUnfinishedPolicy",
    "Info",
    "LocalActivityConfig",
    "LoggerAdapter",
    "NondeterminismError",
    "NotInWorkflowError",
    "ReadOnlyContextError",
    "UnfinishedSignalHandlersWarning",
    "all_handlers_finished",
    "as_completed",
    "cancellation_reason",
    "defn",
    "execute_activity",
    "execute_activity_class",
    "execute_activity_method",
    "execute_container",
    "execute_local_activity",
    "get_dynamic_query_handler",
    "get_dynamic_signal_handler",
    "get_query_handler",
    "get_signal_handler",
    "in_workflow",
    "info",
    "init",
    "instance",
    "is_failure_exception",
    "logger",
    "map_activities",
    "memo",
    "memo_value",
    "now",
    "payload_converter",
    "query",
    "random",
    "run",
    "set_dynamic_query_handler",
    "set_dynamic_signal_handler",
    "set_query_handler",
    "set_signal_handler",
    "signal",
    "sleep",
    "start_activity",
    "start_activity_class",
    "start_activity_method",
    "start_container",
    "start_local_activity",
    "step",
    "time",
    "time_ns",
    "unsafe",
    "uuid4",
    "wait",
    "wait_condition",
]
