"""Start workflows, ask them, tell them, stop them.

::

    client = await Client.connect("127.0.0.1:7233")
    result = await client.execute_workflow(Order.run, order, id="order-42", task_queue="orders")

:class:`Client` has Temporal's names and meaning. Below it is :class:`Service`, which takes the
verbs of :mod:`perdure.protocol.verbs` as they are; the command line and the operator use that.

What goes wrong::

    RPCError                    the server refused, or cannot be reached; ``status`` says which
    WorkflowFailureError        the workflow did not complete; ``cause`` says why
    ActivityFailureError        the same for a standalone activity
    WorkflowQueryFailedError    the query's handler raised
    WorkflowQueryRejectedError  the run is not in a state to be asked
    WorkflowAlreadyStartedError, ActivityAlreadyStartedError    the id is taken
"""

from perdure.client._activity_handle import ActivityHandle
from perdure.client._client import Client, ClientConfig
from perdure.client._connection import Connection, RetryConfig, TLSConfig
from perdure.client._errors import (
    ActivityAlreadyStartedError,
    ActivityFailureError,
    RPCError,
    RPCStatusCode,
    WorkflowFailureError,
    WorkflowQueryFailedError,
    WorkflowQueryRejectedError,
)
from perdure.client._executions import (
    ExecutionIterator,
    WorkflowExecution,
    WorkflowExecutionCount,
    WorkflowExecutionDescription,
    WorkflowExecutionStatus,
    WorkflowHistory,
)
from perdure.client._options import StartActivityOptions, StartWorkflowOptions
from perdure.client._retries import WorkflowRetry
from perdure.client._service import Service
from perdure.client._tokens import TokenFile
from perdure.client._workflow_handle import WorkflowHandle
from perdure.exceptions import WorkflowAlreadyStartedError

__all__ = [
    "ActivityAlreadyStartedError",
    "ActivityFailureError",
    "ActivityHandle",
    "Client",
    "ClientConfig",
    "Connection",
    "ExecutionIterator",
    "RPCError",
    "RPCStatusCode",
    "RetryConfig",
    "Service",
    "StartActivityOptions",
    "StartWorkflowOptions",
    "TLSConfig",
    "TokenFile",
    "WorkflowAlreadyStartedError",
    "WorkflowExecution",
    "WorkflowExecutionCount",
    "WorkflowExecutionDescription",
    "WorkflowExecutionStatus",
    "WorkflowFailureError",
    "WorkflowHandle",
    "WorkflowHistory",
    "WorkflowQueryFailedError",
    "WorkflowQueryRejectedError",
    "WorkflowRetry",
]
