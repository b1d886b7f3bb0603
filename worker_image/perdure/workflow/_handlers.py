"""Handlers that are set while the run lives, and facts of the run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from perdure.workflow._info import Info
from perdure.workflow._runtime import HandlerKind, current, current_or_none
from perdure.workflow._types import UNSET

if TYPE_CHECKING:
    from perdure.converter import PayloadConverter

Handler = Callable[..., Any]


def info() -> Info:
    """Return what is known of the running workflow."""
    return current().info()


def in_workflow() -> bool:
    """Whether workflow code is running, here and now."""
    return current_or_none() is not None


def instance() -> Any:
    """Return the running workflow's own object."""
    return current().instance


def payload_converter() -> PayloadConverter:
    """Return what the run turns values into payloads with."""
    return current().payload_converter


def memo() -> Mapping[str, Any]:
    """Return the run's memo, decoded without type hints."""
    runtime = current()
    converter = runtime.payload_converter
    return {
        key: converter.from_payloads([payload])[0]
        for key, payload in runtime.info().raw_memo.items()
    }


def memo_value(key: str, default: Any = UNSET, *, type_hint: type | None = None) -> Any:
    """Return one value of the run's memo.

    Args:
        key: Which.
        default: What to return when there is none; without it that is a ``KeyError``.
        type_hint: What to decode the value as.
    """
    runtime = current()
    payload = runtime.info().raw_memo.get(key)
    if payload is None:
        if default is UNSET:
            raise KeyError(f"Memo does not have a value for key {key}")
        return default
    hints = None if type_hint is None else [type_hint]
    return runtime.payload_converter.from_payloads([payload], hints)[0]


def cancellation_reason() -> str | None:
    """Return why the run was asked to end; ``None`` while nobody has asked."""
    return current().cancellation_reason()


def is_failure_exception(err: BaseException) -> bool:
    """Whether ``err``, raised by the run, would fail the workflow and not only its task."""
    return current().is_failure(err)


def all_handlers_finished() -> bool:
    """Whether no signal handler is running: wait for it before the run returns."""
    return current().all_handlers_finished()


def get_signal_handler(name: str) -> Handler | None:
    """Return the handler of a signal."""
    return current().handler("signal", name)


def set_signal_handler(name: str, handler: Handler | None) -> None:
    """Set or drop the handler of a signal; signals that waited for it are handled now."""
    _set("signal", name, handler)


def get_dynamic_signal_handler() -> Handler | None:
    """Return the handler of signals that have none of their own."""
    return current().handler("signal", None)


def set_dynamic_signal_handler(handler: Handler | None) -> None:
    """Set or drop the handler ``(name, args)`` of signals that have none of their own."""
    _set("signal", None, handler)


def get_query_handler(name: str) -> Handler | None:
    """Return the handler of a query."""
    return current().handler("query", name)


def set_query_handler(name: str, handler: Handler | None) -> None:
    """Set or drop the handler of a query."""
    _set("query", name, handler)


def get_dynamic_query_handler() -> Handler | None:
    """Return the handler of queries that have none of their own."""
    return current().handler("query", None)


def set_dynamic_query_handler(handler: Handler | None) -> None:
    """Set or drop the handler ``(name, args)`` of queries that have none of their own."""
    _set("query", None, handler)


def _set(kind: HandlerKind, name: str | None, handler: Handler | None) -> None:
    if handler is not None and not callable(handler):
        raise TypeError(f"a {kind} handler must be callable, not {handler!r}")
    current().set_handler(kind, name, handler)
