"""Type variables of the public signatures, and the mark of an argument that was not given."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Concatenate, ParamSpec, TypeVar

from perdure.exceptions import UsageError

P = ParamSpec("P")
A = TypeVar("A")
R = TypeVar("R")
S = TypeVar("S")

AsyncNoArg = Callable[[], Awaitable[R]]
SyncNoArg = Callable[[], R]
AsyncOneArg = Callable[[A], Awaitable[R]]
SyncOneArg = Callable[[A], R]
AsyncMethodNoArg = Callable[[S], Awaitable[R]]
AsyncMethodOneArg = Callable[[S, A], Awaitable[R]]
MethodNoArg = Callable[[S], R | Awaitable[R]]
MethodOneArg = Callable[[S, A], R | Awaitable[R]]
MethodAnyArgs = Callable[Concatenate[S, P], R | Awaitable[R]]


class UnsetType:
    """The type of :data:`UNSET`."""


UNSET = UnsetType()
"""An argument that was not given, where ``None`` could be one."""


def arguments(arg: Any, args: Sequence[Any]) -> list[Any]:
    """Return the arguments, given as one or as several.

    Raises:
        UsageError: they are given both ways.
    """
    if isinstance(arg, UnsetType):
        return list(args)
    if args:
        raise UsageError("give the argument by position, or several as `args`, not both")
    return [arg]
