"""The decorators that make a class a workflow.

Each notes a definition on what it decorates; ``defn`` collects the notes of a class. What is wrong
with a class is told at once, all of it, when the class is defined.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from typing import Any, overload

from perdure.workflow._definition import (
    INIT_ATTRIBUTE,
    QUERY_ATTRIBUTE,
    RUN_ATTRIBUTE,
    SIGNAL_ATTRIBUTE,
    WORKFLOW_ATTRIBUTE,
    HandlerDefinition,
    HandlerUnfinishedPolicy,
    WorkflowDefinition,
)
from perdure.workflow._types import CallableT, ClassT


@overload
def defn(cls: ClassT) -> ClassT: ...
@overload
def defn(
    *,
    name: str | None = None,
    dynamic: bool = False,
    failure_exception_types: Sequence[type[BaseException]] = (),
) -> Callable[[ClassT], ClassT]: ...
def defn(
    cls: ClassT | None = None,
    *,
    name: str | None = None,
    dynamic: bool = False,
    failure_exception_types: Sequence[type[BaseException]] = (),
) -> ClassT | Callable[[ClassT], ClassT]:
    """Make a class a workflow. It needs one method marked with :func:`run`.

    Args:
        cls: The class, when the decorator is used without parentheses.
        name: What clients call it; by default the class's own name.
        dynamic: Run every workflow type that nothing else is registered for. ``run`` takes one
            ``Sequence[RawValue]``.
        failure_exception_types: Exceptions that fail a run, besides failures and timeouts. Every
            other one fails the workflow task, which is tried again until the code is mended.
    """
    if dynamic and name is not None:
        raise ValueError("A dynamic workflow has no name of its own: give `name` or `dynamic`")

    def decorate(target: ClassT) -> ClassT:
        own_name = None if dynamic else name or target.__name__
        definition = _define(target, own_name, tuple(failure_exception_types))
        setattr(target, WORKFLOW_ATTRIBUTE, definition)
        setattr(definition.run_fn, WORKFLOW_ATTRIBUTE, definition)
        return target

    return decorate if cls is None else decorate(cls)


def run(fn: CallableT) -> CallableT:
    """Mark the method that is the workflow; ``async def`` with positional arguments only."""
    if not inspect.iscoroutinefunction(fn):
        raise ValueError(f"Workflow run method {fn.__qualname__} must be an async def")
    for parameter in inspect.signature(fn).parameters.values():
        if parameter.kind is parameter.KEYWORD_ONLY:
            raise ValueError(
                f"Workflow run method {fn.__qualname__} has the keyword-only argument "
                f"{parameter.name!r}: runs are started with positional arguments only"
            )
    setattr(fn, RUN_ATTRIBUTE, True)
    return fn


def init(fn: CallableT) -> CallableT:
    """Mark ``__init__`` as taking the same arguments as the run method."""
    if fn.__name__ != "__init__":
        raise ValueError(f"@workflow.init marks an __init__, not {fn.__qualname__}")
    setattr(fn, INIT_ATTRIBUTE, True)
    return fn


@overload
def signal(fn: CallableT) -> CallableT: ...
@overload
def signal(
    *,
    name: str | None = None,
    dynamic: bool | None = False,
    unfinished_policy: HandlerUnfinishedPolicy = HandlerUnfinishedPolicy.WARN_AND_ABANDON,
    description: str | None = None,
) -> Callable[[CallableT], CallableT]: ...
def signal(
    fn: CallableT | None = None,
    *,
    name: str | None = None,
    dynamic: bool | None = False,
    unfinished_policy: HandlerUnfinishedPolicy = HandlerUnfinishedPolicy.WARN_AND_ABANDON,
    description: str | None = None,
) -> CallableT | Callable[[CallableT], CallableT]:
    """Mark a method, sync or async, as the handler of a signal.

    Args:
        fn: The method, when the decorator is used without parentheses.
        name: The signal's name; by default the method's own.
        dynamic: Handle every signal that has no handler: ``(self, name, args)``, where ``args`` is
            a ``Sequence[RawValue]``.
        unfinished_policy: What to do when the run ends while the handler is running.
        description: For people.
    """

    def decorate(target: CallableT) -> CallableT:
        definition = HandlerDefinition(
            name=_handler_name("signal", target, name, dynamic=bool(dynamic)),
            fn=target,
            unfinished_policy=unfinished_policy,
            description=description,
        )
        setattr(target, SIGNAL_ATTRIBUTE, definition)
        return target

    return decorate if fn is None else decorate(fn)


@overload
def query(fn: CallableT) -> CallableT: ...
@overload
def query(
    *, name: str | None = None, dynamic: bool | None = False, description: str | None = None
) -> Callable[[CallableT], CallableT]: ...
def query(
    fn: CallableT | None = None,
    *,
    name: str | None = None,
    dynamic: bool | None = False,
    description: str | None = None,
) -> CallableT | Callable[[CallableT], CallableT]:
    """Mark a method as the handler of a query: it looks, and changes nothing.

    Args:
        fn: The method, when the decorator is used without parentheses.
        name: The query's name; by default the method's own.
        dynamic: Answer every query that has no handler: ``(self, name, args)``, where ``args`` is a
            ``Sequence[RawValue]``.
        description: For people.
    """

    def decorate(target: CallableT) -> CallableT:
        definition = HandlerDefinition(
            name=_handler_name("query", target, name, dynamic=bool(dynamic)),
            fn=target,
            description=description,
        )
        setattr(target, QUERY_ATTRIBUTE, definition)
        return target

    return decorate if fn is None else decorate(fn)


def _handler_name(
    kind: str, fn: Callable[..., Any], name: str | None, *, dynamic: bool
) -> str | None:
    if dynamic and name is not None:
        raise ValueError(f"A dynamic {kind} has no name of its own: give `name` or `dynamic`")
    parameters = list(inspect.signature(fn).parameters.values())
    for parameter in parameters:
        if parameter.kind is parameter.KEYWORD_ONLY:
            raise ValueError(
                f"{kind.capitalize()} {fn.__qualname__} has the keyword-only argument "
                f"{parameter.name!r}: handlers are called with positional arguments only"
            )
    if not dynamic:
        return name or fn.__name__
    if len(parameters) != 3:
        raise ValueError(
            f"Dynamic {kind} {fn.__qualname__} must take "
            "(self, name: str, args: Sequence[RawValue])"
        )
    return None


def _define(
    cls: type, name: str | None, failure_exception_types: tuple[type[BaseException], ...]
) -> WorkflowDefinition:
    problems: list[str] = []
    if WORKFLOW_ATTRIBUTE in vars(cls):
        problems.append("it is decorated with @workflow.defn twice")
    run_fn = _find_run(cls, problems)
    signals = _collect_handlers(cls, SIGNAL_ATTRIBUTE, problems)
    queries = _collect_handlers(cls, QUERY_ATTRIBUTE, problems)
    init_takes_input = _init_takes_input(cls, run_fn, problems)
    if run_fn is None or problems:
        raise ValueError(f"{cls.__qualname__} cannot be a workflow: {'; '.join(problems)}")
    return WorkflowDefinition(
        name=name,
        cls=cls,
        run_fn=run_fn,
        signals=signals,
        queries=queries,
        init_takes_input=init_takes_input,
        failure_exception_types=failure_exception_types,
    )


def _find_run(cls: type, problems: list[str]) -> Callable[..., Any] | None:
    own = [each for each in vars(cls).values() if hasattr(each, RUN_ATTRIBUTE)]
    if len(own) > 1:
        names = ", ".join(each.__name__ for each in own)
        problems.append(f"more than one method is marked with @workflow.run ({names})")
    elif not own:
        inherited = any(hasattr(each, RUN_ATTRIBUTE) for _, each in inspect.getmembers(cls))
        problems.append(
            "its @workflow.run method is on a base class: define it on the class itself"
            if inherited
            else "no method is marked with @workflow.run"
        )
    return own[0] if own else None


def _collect_handlers(
    cls: type, attribute: str, problems: list[str]
) -> dict[str | None, HandlerDefinition]:
    handlers: dict[str | None, HandlerDefinition] = {}
    for member, definition in _marked(cls, attribute, problems):
        if definition.name in handlers:
            other = handlers[definition.name].fn.__name__
            what = "dynamic handlers" if definition.name is None else f"name {definition.name!r}"
            problems.append(f"{other} and {member} share the {what}")
        handlers[definition.name] = definition
    return handlers


def _marked(
    cls: type, attribute: str, problems: list[str]
) -> Iterator[tuple[str, HandlerDefinition]]:
    for member, value in inspect.getmembers(cls, inspect.isfunction):
        definition = getattr(value, attribute, None)
        if isinstance(definition, HandlerDefinition):
            yield member, definition
        elif any(hasattr(vars(base).get(member), attribute) for base in cls.__mro__):
            problems.append(f"{member} overrides a marked method: mark it with the same decorator")


def _init_takes_input(cls: type, run_fn: Callable[..., Any] | None, problems: list[str]) -> bool:
    constructor: Any = cls.__init__  # type: ignore[misc]  # only its signature is looked at
    if not hasattr(constructor, INIT_ATTRIBUTE):
        return False
    if run_fn is not None and _shape(constructor) != _shape(run_fn):
        problems.append(
            "its @workflow.init must take exactly the arguments of its run method: "
            f"({_shape_text(constructor)}) is not ({_shape_text(run_fn)})"
        )
    return True


def _shape(fn: Callable[..., Any]) -> list[tuple[Any, Any]]:
    parameters = list(inspect.signature(fn).parameters.values())[1:]
    return [(each.kind, each.annotation) for each in parameters]


def _shape_text(fn: Callable[..., Any]) -> str:
    return ", ".join(str(each) for each in list(inspect.signature(fn).parameters.values())[1:])
