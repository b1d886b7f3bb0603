"""Type variables of the public signatures, and types read from users' annotations.

Annotations are read when they are first needed, not when a decorator runs, so that a class may be
named in them before it is defined.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import inspect
import typing
import weakref
from collections.abc import Awaitable, Callable
from typing import Any, ParamSpec, TypeVar

from perdure.exceptions import UsageError

P = ParamSpec("P")
A = TypeVar("A")
R = TypeVar("R")
S = TypeVar("S")
ClassT = TypeVar("ClassT", bound=type)
CallableT = TypeVar("CallableT", bound=Callable[..., Any])

AsyncNoArg = Callable[[], Awaitable[R]]
SyncNoArg = Callable[[], R]
AsyncOneArg = Callable[[A], Awaitable[R]]
SyncOneArg = Callable[[A], R]
AsyncMethodNoArg = Callable[[S], Awaitable[R]]
SyncMethodNoArg = Callable[[S], R]
AsyncMethodOneArg = Callable[[S, A], Awaitable[R]]
SyncMethodOneArg = Callable[[S, A], R]

POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


class UnsetType:
    """The type of :data:`UNSET`."""


UNSET = UnsetType()
"""An argument that was not given, where ``None`` could be one."""


@dataclasses.dataclass(frozen=True, slots=True)
class Parameters:
    """What a callable can be given by position."""

    names: tuple[str, ...]
    least: int
    """How many have no default."""
    is_open: bool
    """Whether it takes any number more."""

    def refusal(self, count: int) -> str | None:
        """Return why ``count`` arguments do not do, in the words of an error."""
        most = len(self.names)
        if self.least <= count and (count <= most or self.is_open):
            return None
        wanted = f"{self.least} to {most}" if self.least < most else f"{most}"
        return f"takes {wanted} arguments, got {count}"


def parameters_of(fn: Callable[..., Any], *, skip_self: bool) -> Parameters:
    """Return what ``fn`` can be given by position."""
    every = list(inspect.signature(fn).parameters.values())
    taken = [each for each in every if each.kind in POSITIONAL][1 if skip_self else 0 :]
    return Parameters(
        names=tuple(each.name for each in taken),
        least=sum(each.default is each.empty for each in taken),
        is_open=any(each.kind is each.VAR_POSITIONAL for each in every),
    )


def argument_types(fn: Callable[..., Any], *, skip_self: bool) -> list[Any] | None:
    """Return the annotations of the positional parameters; ``None`` when one has none.

    Raises:
        UsageError: an annotation names something that is not there at run time.
    """
    hints = _hints(fn)
    names = parameters_of(fn, skip_self=skip_self).names
    if any(name not in hints for name in names):
        return None
    return [hints[name] for name in names]


def return_type(fn: Callable[..., Any]) -> Any | None:
    """Return the annotation of the result, or ``None``.

    Raises:
        UsageError: an annotation names something that is not there at run time.
    """
    return _hints(fn).get("return")


_known_results: weakref.WeakKeyDictionary[Callable[..., Any], Any] = weakref.WeakKeyDictionary()
"""Annotations of results: reading them is slow, and a step is often the same function."""


def return_type_or_none(fn: Callable[..., Any]) -> Any | None:
    """Return the annotation of the result of any callable, if it can be told."""
    function = fn
    while isinstance(function, functools.partial):
        function = function.func
    if not inspect.isroutine(function):
        function = (function if inspect.isclass(function) else type(function)).__call__
    function = getattr(function, "__func__", function)
    try:
        return _known_results[function]
    except (KeyError, TypeError):
        found = _read_return_type(function)
    with contextlib.suppress(TypeError):  # built-in functions cannot be referred to weakly
        _known_results[function] = found
    return found


def _read_return_type(function: Callable[..., Any]) -> Any | None:
    try:
        return typing.get_type_hints(function, include_extras=True).get("return")
    except (NameError, TypeError, AttributeError):
        return None


def _hints(fn: Callable[..., Any]) -> dict[str, Any]:
    try:
        return typing.get_type_hints(inspect.unwrap(fn), include_extras=True)
    except NameError as error:
        raise UsageError(
            f"cannot read the annotations of {fn.__qualname__}: {error}. Payloads are decoded by "
            "them, so what they name must be importable at run time: at module level, not within "
            "a function and not only under TYPE_CHECKING"
        ) from error
