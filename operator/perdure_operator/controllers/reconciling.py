"""A reconcile: observe, plan, apply, and again while a plan asks to see what came of it.

The tasks that take keys from the work queue are here too, and with them the one place where any
error is caught: whatever goes wrong with one object is logged, counted and tried again later, and
never stops the others.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Protocol, TypeVar

from perdure_operator.cluster import (
    ClusterError,
    ConflictError,
    Manifest,
    NotFoundError,
    NotLeadingError,
    ObjectKind,
    UnavailableError,
)
from perdure_operator.controllers.actions import (
    Action,
    ImportRefused,
    ObjectRefused,
    ObjectWritten,
    Outcome,
    Plan,
    ServerAway,
    SignalRefused,
    StartRefused,
    WriteStatus,
)
from perdure_operator.controllers.applying import Applier
from perdure_operator.controllers.keys import Key
from perdure_operator.controllers.metrics import Metrics
from perdure_operator.controllers.server import ServerError, ServerUnavailableError
from perdure_operator.controllers.workqueue import WorkQueue

logger = logging.getLogger(__name__)

MAX_ROUNDS = 8
"""More than any object needs; a plan that is never content must not keep a task for ever."""

V = TypeVar("V")
Observe = Callable[[Manifest, Sequence[Outcome]], Awaitable[V]]


async def converge(
    body: Manifest,
    *,
    observe: Observe[V],
    plan: Callable[[V], Plan],
    applier: Applier,
    wrote: Callable[[Manifest], None],
    outcomes: list[Outcome] | None = None,
) -> Plan:
    """Bring the object to where its plan has nothing more to do, and return the last plan.

    Args:
        body: The object.
        observe: Returns what a plan is made from; asks the server nothing once it is away.
        plan: The pure part.
        applier: Carries out the plan.
        wrote: Told of the object whenever we have written it.
        outcomes: What came of actions before; what comes of these is added.

    Raises:
        ClusterError: The API server did not do its part.
        ServerError: The Perdure server did not do its part.
    """
    outcomes = [] if outcomes is None else outcomes
    step = Plan()
    for _ in range(MAX_ROUNDS):
        planned, known = body, len(outcomes)
        try:
            step = plan(await observe(body, outcomes))
            for action in step.actions:
                outcome = await applier.apply(_upon(action, planned, body))
                if isinstance(outcome, ObjectWritten):
                    body = outcome.manifest
                    wrote(body)
                elif outcome is not None:
                    outcomes.append(outcome)
        except ServerUnavailableError as error:
            outcomes.append(ServerAway(message=str(error)))
            continue
        if step.look_soon is not None and not any(map(_is_refusal, outcomes[known:])):
            return replace(step, again=step.look_soon)
        if step.look_soon is None and not step.look_at_once:
            return step
    return Plan(blocked=f"it is not at rest after {MAX_ROUNDS} rounds; the last plan was {step}")


def _upon(action: Action, planned: Manifest, body: Manifest) -> Action:
    """Return the action for the object as our own writes have left it.

    A status is written onto the version that it was planned on. When all that has changed since
    is what this plan wrote itself, that is the version now; otherwise the conflict stands.
    """
    if not isinstance(action, WriteStatus):
        return action
    is_same = body["metadata"].get("generation") == planned["metadata"].get("generation")
    if not is_same or body.get("status") != planned.get("status"):
        return action
    return replace(action, resource_version=body["metadata"]["resourceVersion"])


def _is_refusal(outcome: Outcome) -> bool:
    return isinstance(outcome, StartRefused | ImportRefused | ObjectRefused | SignalRefused)


class Reconciler(Protocol):
    """What knows how to look at objects of one kind."""

    async def reconcile(self, key: Key) -> Plan:
        """Look at the object, do what is to be done, and return the last plan."""


class Dispatcher:
    """Takes keys from the queue and has them looked at."""

    def __init__(
        self,
        queue: WorkQueue[Key],
        reconcilers: Mapping[ObjectKind, Reconciler],
        metrics: Metrics,
    ) -> None:
        self._queue = queue
        self._reconcilers = reconcilers
        self._metrics = metrics
        self._said = ""

    async def work(self) -> None:
        """Look at one key after the other, for ever."""
        while True:
            key = await self._queue.take()
            with self._metrics.reconciling(key.kind.kind) as attempt:
                attempt.result = await self._look_at(key)

    async def _look_at(self, key: Key) -> str:
        """Reconcile one object, and return in a word how that went."""
        try:
            plan = await self._reconcilers[key.kind].reconcile(key)
        except NotFoundError:
            # It was deleted while we looked at it.
            self._queue.finish(key)
            return "gone"
        except ConflictError as error:
            logger.debug("%s has changed meanwhile: %s", key, error)
            self._queue.fail(key)
            return "conflict"
        except NotLeadingError as error:
            # One line for each object would say nothing more than the lease's own.
            logger.debug("%s: %s", key, error)
            self._queue.fail(key)
            return "not-leading"
        except (UnavailableError, ServerUnavailableError) as error:
            # Said once for all of them where calls are made (:mod:`.outages`).
            logger.debug("%s: %s", key, error)
            self._queue.fail(key)
            return "error"
        except (ClusterError, ServerError) as error:
            delay = self._queue.fail(key)
            logger.warning("%s: %s; trying again in %.1f s", key, error, delay)
            return "error"
        except Exception:
            delay = self._queue.fail(key)
            logger.exception("%s: this is a bug; trying again in %.1f s", key, delay)
            return "bug"
        return self._settle(key, plan)

    def _settle(self, key: Key, plan: Plan) -> str:
        if plan.blocked:
            delay = self._queue.fail(key)
            # Ten thousand that wait for the same are one line.
            level = logging.DEBUG if plan.blocked == self._said else logging.INFO
            self._said = plan.blocked
            logger.log(level, "%s waits: %s; trying again in %.1f s", key, plan.blocked, delay)
            return "blocked"
        again = None if plan.again is None else max(0.0, plan.again.total_seconds())
        self._queue.finish(key, again=again)
        return "done"
