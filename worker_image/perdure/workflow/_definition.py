"""What the decorators note on a workflow class, and how others read it back.

The notes are attributes of the decorated functions and classes; :class:`WorkflowDefinition`
collects them when ``@workflow.defn`` runs and refuses a class that could not run. See
:mod:`perdure.workflow._decorators` for the decorators themselves.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from enum import Enum
from functools import cached_property
from typing import Any

from perdure.exceptions import UsageError
from perdure.workflow._types import Parameters, argument_types, parameters_of, return_type

WORKFLOW_ATTRIBUTE = "__perdure_workflow_definition__"
RUN_ATTRIBUTE = "__perdure_workflow_run__"
INIT_ATTRIBUTE = "__perdure_workflow_init__"
SIGNAL_ATTRIBUTE = "__perdure_signal_definition__"
QUERY_ATTRIBUTE = "__perdure_query_definition__"


class HandlerUnfinishedPolicy(Enum):
    """What to do when a run ends while a handler is still running."""

    WARN_AND_ABANDON = 1
    """Warn, and let go of it."""
    ABANDON = 2
    """Let go of it silently: it is meant to be cut off."""


class UnfinishedSignalHandlersWarning(RuntimeWarning):
    """A run ended while signal handlers were still running."""


@dataclasses.dataclass(frozen=True, eq=False)
class HandlerDefinition:
    """A signal or query handler as its author declared it."""

    name: str | None
    """None for a dynamic handler, which gets the name and the raw arguments."""
    fn: Callable[..., Any]
    is_method: bool = True
    """Whether the first parameter is ``self``."""
    unfinished_policy: HandlerUnfinishedPolicy = HandlerUnfinishedPolicy.WARN_AND_ABANDON
    description: str | None = None

    @cached_property
    def parameters(self) -> Parameters:
        """What it can be called with."""
        return parameters_of(self.fn, skip_self=self.is_method)

    @cached_property
    def argument_types(self) -> list[Any] | None:
        """What the arguments are decoded as."""
        return argument_types(self.fn, skip_self=self.is_method)

    @cached_property
    def return_type(self) -> Any | None:
        """What a client decodes the answer as."""
        return return_type(self.fn)


@dataclasses.dataclass(frozen=True, eq=False)
class WorkflowDefinition:
    """A workflow class, ready to be run."""

    name: str | None
    """None for a dynamic workflow, which runs every type that nothing else is registered for."""
    cls: type
    run_fn: Callable[..., Any]
    signals: Mapping[str | None, HandlerDefinition]
    queries: Mapping[str | None, HandlerDefinition]
    init_takes_input: bool = False
    failure_exception_types: tuple[type[BaseException], ...] = ()

    @staticmethod
    def of(cls: type) -> WorkflowDefinition:  # noqa: PLW0211 - the class is the subject here
        """Return the definition of a workflow class.

        Raises:
            UsageError: the class is not marked with ``@workflow.defn``.
        """
        found = cls.__dict__.get(WORKFLOW_ATTRIBUTE) if isinstance(cls, type) else None
        if not isinstance(found, WorkflowDefinition):
            raise UsageError(
                f"{getattr(cls, '__qualname__', cls)!r} is no workflow: mark the class itself (a "
                "base class does not count) with @workflow.defn"
            )
        return found

    @property
    def is_dynamic(self) -> bool:
        """Whether it answers to any name."""
        return self.name is None

    @property
    def label(self) -> str:
        """What to call it in messages."""
        return self.cls.__qualname__

    @cached_property
    def parameters(self) -> Parameters:
        """What a run can be started with."""
        return parameters_of(self.run_fn, skip_self=True)

    @cached_property
    def argument_types(self) -> list[Any] | None:
        """What the input is decoded as."""
        return argument_types(self.run_fn, skip_self=True)

    @cached_property
    def return_type(self) -> Any | None:
        """What a client decodes the result as."""
        return return_type(self.run_fn)


def workflow_name_and_types(
    workflow: str | Callable[..., Any],
) -> tuple[str, list[Any] | None, Any | None]:
    """Return the type name, argument types and result type of a workflow.

    Args:
        workflow: Its name, its ``run`` method, or its class.

    Raises:
        UsageError: it is none of these, or a dynamic workflow, which has no name.
    """
    if isinstance(workflow, str):
        return workflow, None, None
    holder = workflow.__dict__ if isinstance(workflow, type) else workflow
    found = (
        holder.get(WORKFLOW_ATTRIBUTE)
        if isinstance(holder, Mapping)
        else getattr(holder, WORKFLOW_ATTRIBUTE, None)
    )
    if not isinstance(found, WorkflowDefinition):
        raise UsageError(
            f"{getattr(workflow, '__qualname__', workflow)!r} is no workflow: give the run method "
            "of a class marked with @workflow.defn (MyWorkflow.run), or the workflow's name"
        )
    if found.name is None:
        raise UsageError(f"{found.label} is a dynamic workflow: start it by the name you want")
    return found.name, found.argument_types, found.return_type


def signal_name(signal: str | Callable[..., Any]) -> str:
    """Return the name of a signal given by name or by its handler."""
    return signal if isinstance(signal, str) else _handler_of(signal, SIGNAL_ATTRIBUTE)[0]


def query_name_and_type(query: str | Callable[..., Any]) -> tuple[str, Any | None]:
    """Return the name and the answer's type of a query given by name or by its handler."""
    if isinstance(query, str):
        return query, None
    name, definition = _handler_of(query, QUERY_ATTRIBUTE)
    return name, definition.return_type


def _handler_of(fn: Callable[..., Any], attribute: str) -> tuple[str, HandlerDefinition]:
    kind = "signal" if attribute == SIGNAL_ATTRIBUTE else "query"
    found = getattr(fn, attribute, None)
    if not isinstance(found, HandlerDefinition):
        raise UsageError(
            f"{getattr(fn, '__qualname__', fn)!r} is no {kind}: give a method marked with "
            f"@workflow.{kind}, or the {kind}'s name"
        )
    if found.name is None:
        raise UsageError(f"{fn.__qualname__} is a dynamic {kind}: give the name you mean")
    return found.name, found
