"""What a worker can run, checked when the worker is made.

A mistake in a registration is told at once and in words, not when the first task arrives.
"""

from __future__ import annotations

import inspect
import logging
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from perdure.activity._definition import Definition, find_definition, positional_types
from perdure.common import RawValue
from perdure.converter import DataConverter
from perdure.exceptions import ConversionError, UsageError
from perdure.protocol.payloads import Payloads
from perdure.workflow._definition import WorkflowDefinition

logger = logging.getLogger("perdure.worker")

_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisteredActivity:
    """An activity with what is needed to call it."""

    definition: Definition
    names: tuple[str, ...]
    """Of its positional parameters."""
    types: Sequence[Any] | None
    least: int
    """How many arguments it needs."""
    most: int | None
    """How many it takes; None for any number."""

    def decode(self, payloads: Payloads, converter: DataConverter) -> list[Any]:
        """Return the arguments.

        Raises:
            ConversionError: they do not fit.
        """
        of = f"activity {self.definition.label}"
        if self.definition.is_dynamic:
            return [converter.from_payloads(payloads, [RawValue] * len(payloads), of=of)]
        count = len(payloads)
        if count < self.least or (self.most is not None and count > self.most):
            raise ConversionError(f"{of} takes {self._takes}, but was given {count}")
        return converter.from_payloads(payloads, self.types, of=of, names=self.names)

    @property
    def _takes(self) -> str:
        named = f" ({', '.join(self.names)})" if self.names else ""
        if self.most is None:
            return f"{self.least} or more arguments{named}"
        if self.least == self.most:
            return f"{self.most} argument{'' if self.most == 1 else 's'}{named}"
        return f"{self.least} to {self.most} arguments{named}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Registry:
    """The workflows and activities of one worker, by name."""

    workflows: Mapping[str, WorkflowDefinition]
    activities: Mapping[str, RegisteredActivity]
    dynamic_workflow: WorkflowDefinition | None = None
    dynamic_activity: RegisteredActivity | None = None

    def find_workflow(self, name: str) -> WorkflowDefinition | None:
        """Return what runs a workflow type."""
        return self.workflows.get(name, self.dynamic_workflow)

    def find_activity(self, name: str) -> RegisteredActivity | None:
        """Return what runs an activity type."""
        return self.activities.get(name, self.dynamic_activity)

    @property
    def has_sync_activities(self) -> bool:
        """Whether some activity needs a thread."""
        return any(not each.definition.is_async for each in self._every_activity)

    @property
    def has_async_activities(self) -> bool:
        """Whether some activity runs on the loop."""
        return any(each.definition.is_async for each in self._every_activity)

    @property
    def workflow_modules(self) -> list[ModuleType]:
        """The modules that workflow classes come from."""
        every = [*self.workflows.values(), self.dynamic_workflow]
        names = {each.cls.__module__ for each in every if each is not None}
        return [sys.modules[name] for name in sorted(names) if name in sys.modules]

    @property
    def _every_activity(self) -> list[RegisteredActivity]:
        dynamic = [self.dynamic_activity] if self.dynamic_activity else []
        return [*self.activities.values(), *dynamic]


def register(workflows: Iterable[type], activities: Iterable[Callable[..., Any]]) -> Registry:
    """Look through what a worker is given.

    Raises:
        UsageError: something cannot be run, or two things have one name.
    """
    by_workflow, dynamic_workflow = _by_name(
        "workflow",
        [(found.name, found, found.label) for found in map(WorkflowDefinition.of, workflows)],
    )
    by_activity, dynamic_activity = _by_name(
        "activity",
        [
            (found.definition.name, found, _place(found.definition.fn))
            for found in map(_register_activity, activities)
        ],
    )
    for definition in by_workflow.values():
        _ = definition.argument_types  # refuses annotations that cannot be read
    if not (by_workflow or by_activity or dynamic_workflow or dynamic_activity):
        raise UsageError(
            "A worker without workflows and activities has nothing to do: give it some, "
            "Worker(..., workflows=[...], activities=[...])"
        )
    return Registry(
        workflows=by_workflow,
        activities=by_activity,
        dynamic_workflow=dynamic_workflow,
        dynamic_activity=dynamic_activity,
    )


def usable_slots(registry: Registry, executor: Executor | None, slots: int) -> int:
    """Return how many activities can really run at once.

    Raises:
        UsageError: sync activities cannot run in ``executor`` at all.
    """
    if executor is None or not registry.has_sync_activities:
        return slots
    if not isinstance(executor, ThreadPoolExecutor):
        raise UsageError(
            f"activity_executor is a {type(executor).__name__}, but sync activities run in "
            "threads: give a ThreadPoolExecutor, or none and the worker makes one. For work that "
            "needs processes, start them within an activity"
        )
    threads: int = getattr(executor, "_max_workers", slots)
    if threads >= slots:
        return slots
    if not registry.has_async_activities:
        return threads
    logger.warning(
        "activity_executor has %d threads, but max_concurrent_activities is %d: sync activities "
        "may wait in the worker while their timeouts run. Make the two equal",
        threads,
        slots,
    )
    return slots


def _by_name(kind: str, found: list[tuple[str | None, Any, str]]) -> tuple[dict[str, Any], Any]:
    """Return the named ones by name, and the dynamic one."""
    places: dict[str | None, str] = {}
    by_name: dict[str, Any] = {}
    dynamic = None
    for name, item, place in found:
        if name in places:
            what = f"named {name!r}" if name is not None else "that is dynamic"
            raise UsageError(
                f"More than one {kind} {what}: {places[name]} and {place}. Give one another name "
                f"with @{kind}.defn(name=...)"
            )
        places[name] = place
        if name is None:
            dynamic = item
        else:
            by_name[name] = item
    return by_name, dynamic


def _register_activity(fn: Callable[..., Any]) -> RegisteredActivity:
    definition = find_definition(fn)
    if definition is None:
        raise UsageError(f"{_place(fn)} is no activity: mark it with @activity.defn")
    if inspect.isclass(fn):
        raise UsageError(
            f"Activity {definition.label} is a class: give the worker an instance, "
            f"{fn.__name__}(...)"
        )
    types, _ = positional_types(fn)
    parameters = inspect.signature(fn).parameters.values()
    if parameters and next(iter(parameters)).name == "self":
        raise UsageError(
            f"Activity {definition.label} is a method without its object: give the worker "
            f"the method of an instance, instance.{definition.fn.__name__}"
        )
    positional = [each for each in parameters if each.kind in _POSITIONAL]
    return RegisteredActivity(
        definition=definition,
        names=tuple(each.name for each in positional),
        types=types,
        least=sum(each.default is each.empty for each in positional),
        most=None
        if any(each.kind is each.VAR_POSITIONAL for each in parameters)
        else len(positional),
    )


def _place(fn: Callable[..., Any]) -> str:
    module = getattr(fn, "__module__", None)
    name = getattr(fn, "__qualname__", None) or repr(fn)
    return f"{module}.{name}" if module else name
