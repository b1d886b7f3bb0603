"""What ``@activity.defn`` notes on a callable, and how it is read back.

The note is kept in an attribute of the callable, so that a workflow can name the activity
without importing this package, and a worker can find out how to run it. Functions, methods and
instances of classes with ``__call__`` are all welcome, sync or async.
"""

from __future__ import annotations

import dataclasses
import inspect
import typing
from collections.abc import Callable
from typing import Any, TypeVar, overload

from perdure.exceptions import UsageError

CallableT = TypeVar("CallableT", bound=Callable[..., Any])

DEFINITION_ATTRIBUTE = "__perdure_activity_definition__"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Definition:
    """An activity as its author declared it."""

    name: str | None
    """None for a dynamic activity, which takes every type that nothing else is registered for."""
    fn: Callable[..., Any]
    is_async: bool
    no_thread_cancel_exception: bool = False

    @property
    def is_dynamic(self) -> bool:
        """Whether it answers to any name."""
        return self.name is None

    @property
    def label(self) -> str:
        """What to call it in messages."""
        return self.name or "(dynamic)"


@overload
def defn(fn: CallableT) -> CallableT: ...


@overload
def defn(
    *, name: str | None = None, no_thread_cancel_exception: bool = False
) -> Callable[[CallableT], CallableT]: ...


@overload
def defn(
    *, dynamic: bool, no_thread_cancel_exception: bool = False
) -> Callable[[CallableT], CallableT]: ...


def defn(
    fn: CallableT | None = None,
    *,
    name: str | None = None,
    no_thread_cancel_exception: bool = False,
    dynamic: bool = False,
) -> CallableT | Callable[[CallableT], CallableT]:
    """Make a callable an activity.

    Args:
        fn: The callable, when the decorator is used without parentheses.
        name: What workflows call it; by default the function's own name.
        no_thread_cancel_exception: Do not raise in the thread of a sync activity when it is
            cancelled; it then has to look at :func:`is_cancelled`.
        dynamic: Run every activity type that nothing else is registered for. The callable takes
            one ``Sequence[RawValue]``.
    """
    if dynamic and name is not None:
        raise ValueError("A dynamic activity has no name of its own: give `name` or `dynamic`")

    def decorate(target: CallableT) -> CallableT:
        _declare(
            target,
            name=None if dynamic else name or getattr(target, "__name__", None),
            dynamic=dynamic,
            no_thread_cancel_exception=no_thread_cancel_exception,
        )
        return target

    return decorate if fn is None else decorate(fn)


def _declare(
    target: Callable[..., Any],
    *,
    name: str | None,
    dynamic: bool,
    no_thread_cancel_exception: bool,
) -> None:
    if not callable(target):
        raise TypeError(f"@activity.defn needs a function or a callable, not {target!r}")
    if name is None and not dynamic:
        raise ValueError(f"{target!r} has no name of its own: write @activity.defn(name=...)")
    if DEFINITION_ATTRIBUTE in vars(target):
        raise ValueError(f"Activity {name} is decorated with @activity.defn twice")
    for parameter in inspect.signature(_called(target)).parameters.values():
        if parameter.kind is parameter.KEYWORD_ONLY:
            raise TypeError(
                f"Activity {name} has the keyword-only argument {parameter.name!r}, but "
                "activities are called with positional arguments: remove the `*` before it"
            )
    definition = Definition(
        name=name,
        fn=target,
        is_async=is_async(target),
        no_thread_cancel_exception=no_thread_cancel_exception,
    )
    setattr(target, DEFINITION_ATTRIBUTE, definition)


def find_definition(fn: Callable[..., Any]) -> Definition | None:
    """Return how ``fn`` was declared, bound to this very callable (a method, an instance)."""
    found = getattr(fn, DEFINITION_ATTRIBUTE, None)
    return dataclasses.replace(found, fn=fn) if isinstance(found, Definition) else None


def is_async(fn: Callable[..., Any]) -> bool:
    """Whether calling ``fn`` gives a coroutine."""
    return inspect.iscoroutinefunction(inspect.unwrap(_called(fn))) or inspect.iscoroutinefunction(
        getattr(fn, "func", None)  # functools.partial
    )


def positional_types(fn: Callable[..., Any]) -> tuple[list[Any] | None, Any | None]:
    """Return the types of the positional arguments and of the result, where they can be told.

    The arguments' are None when one of them has no annotation.

    Raises:
        UsageError: an annotation names something that is not there at run time.
    """
    called = _called(fn)
    function: Any = inspect.unwrap(getattr(called, "__func__", called))
    try:
        hints = typing.get_type_hints(function, include_extras=True)
        parameters = list(inspect.signature(called).parameters.values())
    except NameError as error:
        raise UsageError(
            f"Cannot read the annotations of activity {getattr(function, '__qualname__', fn)}: "
            f"{error}. Arguments are decoded by them, so what they name must be importable at run "
            "time: at module level, not only under TYPE_CHECKING"
        ) from error
    except (TypeError, ValueError):
        return None, None  # a builtin, which has none
    if inspect.isclass(fn):
        parameters = parameters[1:]

    result = hints.get("return")
    types: list[Any] = []
    for parameter in parameters:
        if parameter.kind not in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD):
            break
        if parameter.name not in hints:
            return None, result
        types.append(hints[parameter.name])
    return types, result


def _called(fn: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function or method that runs when ``fn`` is called."""
    if inspect.isclass(fn) or not (inspect.isroutine(fn) or hasattr(fn, "__wrapped__")):
        called: Callable[..., Any] = getattr(fn, "__call__")  # noqa: B004, B009 - mypy denies that classes have it
        return called
    return fn
