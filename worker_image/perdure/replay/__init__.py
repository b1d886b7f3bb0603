"""Running workflow code against a history: activation in, commands out.

:class:`WorkflowInstance` is one run's code on its own deterministic event loop. Nothing here does
I/O or reads a clock; what a run knows of the world comes in as events.
"""

from perdure.replay._asked import StepInvocation
from perdure.replay.errors import RunEvictedError, WorkflowTaskError
from perdure.replay.instance import INVALID_INPUT, Told, WorkflowInstance

__all__ = [
    "INVALID_INPUT",
    "RunEvictedError",
    "StepInvocation",
    "Told",
    "WorkflowInstance",
    "WorkflowTaskError",
]
