"""Signal and query handlers of one run."""

from __future__ import annotations

import inspect
import types
import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from perdure.common import RawValue
from perdure.converter import DataConverter
from perdure.exceptions import ApplicationError, ConversionError, UsageError
from perdure.protocol.events import SignalReceived
from perdure.protocol.payloads import Payload
from perdure.workflow._definition import (
    HandlerDefinition,
    HandlerUnfinishedPolicy,
    UnfinishedSignalHandlersWarning,
    WorkflowDefinition,
)
from perdure.workflow._logging import logger
from perdure.workflow._runtime import HandlerKind

if TYPE_CHECKING:
    from perdure.replay._run import Run


class _Handler(NamedTuple):
    definition: HandlerDefinition
    fn: Callable[..., Any]
    """Bound to the workflow's object, where it is a method."""


class Handlers:
    """Who handles what; signals that nobody handles yet are kept."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._handlers: dict[HandlerKind, dict[str | None, _Handler]] = {
            "signal": {},
            "query": {},
        }
        self._kept: list[SignalReceived] = []
        self._count = 0
        self.running: dict[int, tuple[_Handler, str]] = {}
        """Signal handlers that have begun and not ended."""

    def install(self, instance: Any) -> None:
        """Make the methods of the workflow's object its handlers."""
        definition = self._run.definition
        marked: tuple[tuple[HandlerKind, Any], ...] = (
            ("signal", definition.signals),
            ("query", definition.queries),
        )
        for kind, handlers in marked:
            for name, each in handlers.items():
                # One that was set by hand while the object was made goes before.
                self._handlers[kind].setdefault(
                    name, _Handler(each, types.MethodType(each.fn, instance))
                )

    def get(self, kind: HandlerKind, name: str | None) -> Callable[..., Any] | None:
        """Return the handler of a name."""
        found = self._handlers[kind].get(name)
        return found.fn if found else None

    def set(self, kind: HandlerKind, name: str | None, fn: Callable[..., Any] | None) -> None:
        """Set or drop a handler; signals kept for it are handled."""
        if fn is None:
            self._handlers[kind].pop(name, None)
            return
        definition = HandlerDefinition(name=name, fn=fn, is_method=False)
        self._handlers[kind][name] = _Handler(definition, fn)
        if kind == "signal":
            kept, self._kept = self._kept, []
            for signal in kept:
                self.receive(signal)

    # --- signals -------------------------------------------------------------------------------

    def receive(self, signal: SignalReceived) -> None:
        """Start the handler of a signal, or keep the signal until there is one."""
        handler = self._find("signal", signal.name)
        if handler is None:
            self._kept.append(signal)
            return
        try:
            args = self._arguments("signal", handler, signal.name, signal.input)
        except ConversionError as error:
            # Nobody can mend what was sent, and the sender is not waiting: dropped.
            logger.warning("signal %r is dropped: %s", signal.name, error)
            return
        self._count += 1
        number = self._count
        self.running[number] = (handler, signal.name)
        self._run.loop.create_task(
            self._handle(number, handler, args),
            name=f"signal {signal.name}",
            context=self._run.context.copy(),
        )

    async def _handle(self, number: int, handler: _Handler, args: Sequence[Any]) -> None:
        try:
            result = handler.fn(*args)
            if inspect.isawaitable(result):
                await result
        except BaseException as error:
            self._run.end_with_error(error)
            if not isinstance(error, Exception):
                raise
        finally:
            self.running.pop(number, None)

    def warn_unfinished(self) -> None:
        """Warn of handlers that the end of the run cuts off."""
        cut = [
            name
            for handler, name in self.running.values()
            if handler.definition.unfinished_policy is HandlerUnfinishedPolicy.WARN_AND_ABANDON
        ]
        if not cut:
            return
        warnings.warn(
            f"run {self._run.ref.workflow_id!r} ended while handlers of these signals were still "
            f"running: {', '.join(cut)}. Wait for them before returning, with `await "
            "workflow.wait_condition(workflow.all_handlers_finished)`, or mark them with "
            "`@workflow.signal(unfinished_policy=workflow.HandlerUnfinishedPolicy.ABANDON)`",
            UnfinishedSignalHandlersWarning,
            stacklevel=2,
        )

    # --- queries -------------------------------------------------------------------------------

    def answer(self, name: str, payloads: Sequence[Payload]) -> Payload | None:
        """Answer a query.

        Raises:
            Exception: the handler raised it, or there is no handler.
        """
        handler = self._find("query", name)
        if handler is None:
            known = " ".join(sorted(each for each in self._handlers["query"] if each is not None))
            raise ApplicationError(
                f"Query handler for {name!r} expected but not found, known queries: [{known}]",
                type="QueryNotFound",
            )
        args = self._arguments("query", handler, name, payloads)
        result = handler.fn(*args)
        if inspect.iscoroutine(result):
            result = _run_without_waiting(name, result)
        return (
            None
            if result is None
            else self._run.converter.to_payload(result, f"the answer to query {name!r}")
        )

    def _find(self, kind: HandlerKind, name: str) -> _Handler | None:
        handlers = self._handlers[kind]
        return handlers.get(name) or handlers.get(None)

    def _arguments(
        self, kind: HandlerKind, handler: _Handler, name: str, payloads: Sequence[Payload]
    ) -> Sequence[Any]:
        if handler.definition.name is None:
            return name, [RawValue(payload) for payload in payloads]
        of = f"{kind} {name!r} of {self._run.definition.label}"
        return decode_arguments(self._run.converter, handler.definition, payloads, of)


def decode_arguments(
    converter: DataConverter,
    taker: HandlerDefinition | WorkflowDefinition,
    payloads: Sequence[Payload],
    of: str,
) -> list[Any]:
    """Decode what ``taker`` is called with; ``of`` names it in errors.

    Raises:
        ConversionError: it cannot be decoded, or there are too many or too few.
    """
    refusal = taker.parameters.refusal(len(payloads))
    if refusal is not None:
        raise ConversionError(f"{of} {refusal}")
    return converter.from_payloads(
        payloads, taker.argument_types, of=of, names=taker.parameters.names
    )


def _run_without_waiting(name: str, coroutine: Any) -> Any:
    try:
        coroutine.send(None)
    except StopIteration as stop:
        return stop.value
    coroutine.close()
    raise UsageError(f"query {name!r} waits for something: a query only looks at what is there")
