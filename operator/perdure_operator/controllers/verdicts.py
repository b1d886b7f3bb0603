"""What is to be said of an object in its conditions, and the conditions that say it.

A verdict has no times and no generations: two looks at the same state give the same verdict, and
the conditions of the same verdict are the same to the letter. So a status is written only when
there is something new to say.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from perdure_operator.model import (
    Condition,
    ConditionStatus,
    ConditionType,
    Reason,
    ResourceStatus,
    WorkerPool,
    clear_condition,
    find_condition,
    set_condition,
)

S = TypeVar("S", bound=ResourceStatus)

_WORKERS_AVAILABLE = "workers are connected, or are made as soon as there is something to do"


@dataclass(frozen=True, slots=True, kw_only=True)
class Say:
    """Why a condition is as it is."""

    reason: Reason
    message: str
    status: ConditionStatus = ConditionStatus.TRUE


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """One entry a condition; None leaves the condition out, and so does what rules it out."""

    ready: Say
    reconciling: Say | None = None
    stalled: Say | None = None
    complete: Say | None = None
    failed: Say | None = None
    workers: Say | None = None

    def conditions(
        self, before: Sequence[Condition], *, generation: int, now: datetime
    ) -> tuple[Condition, ...]:
        """Return the conditions; what did not change keeps its time."""
        said = {
            ConditionType.READY: self.ready,
            # kstatus takes the first that it meets: what is stalled would seem to go on for ever.
            ConditionType.RECONCILING: None if self.stalled else self.reconciling,
            ConditionType.STALLED: self.stalled,
            ConditionType.COMPLETE: self.complete,
            ConditionType.FAILED: self.failed,
            ConditionType.WORKERS_READY: self.workers,
        }
        after = tuple(before)
        for type_, say in said.items():
            if say is None:
                after = clear_condition(after, type_)
            else:
                after = set_condition(
                    after, type_, say.status, say.reason, say.message, generation, now
                )
        return after


def false(reason: Reason, message: str) -> Say:
    """Say that a condition does not hold."""
    return Say(reason=reason, message=message, status=ConditionStatus.FALSE)


def true(reason: Reason, message: str) -> Say:
    """Say that a condition holds."""
    return Say(reason=reason, message=message)


def pending(message: str, stalled: Say | None = None) -> Verdict:
    """Return the verdict on what has not started, and on why it cannot."""
    reason = Reason.PENDING
    ready = false(stalled.reason, stalled.message) if stalled else false(reason, message)
    return Verdict(ready=ready, reconciling=true(reason, message), stalled=stalled)


def finished(reason: Reason, message: str, *, well: bool) -> Verdict:
    """Return the verdict on what is over."""
    if well:
        return Verdict(ready=true(reason, message), complete=true(reason, message))
    # Stalled is how kstatus is told that waiting longer will not help.
    return Verdict(
        ready=false(reason, message),
        stalled=true(reason, message),
        failed=true(reason, message),
    )


def no_pool(name: str | None, namespace: str) -> Say:
    """Say that the pool which an object names is not there."""
    return true(
        Reason.POOL_NOT_FOUND,
        f"there is no WorkerPool {name!r} in namespace {namespace!r}: apply one, or name another",
    )


def workers_of(pool: WorkerPool) -> Say | None:
    """Say of an object's workers what its pool says of them.

    While all is well the pool's workers come and go; thousands of objects are not rewritten for
    that, so what is said then holds for either.
    """
    condition = find_condition(pool.status.conditions, ConditionType.WORKERS_READY)
    if condition is None:
        return None
    if condition.status is ConditionStatus.TRUE:
        return true(Reason.AVAILABLE, _WORKERS_AVAILABLE)
    return false(Reason(condition.reason), condition.message)


def in_a_word(pool: WorkerPool | None) -> str:
    """Return what objects show of a pool's workers, short: another word is to be shown anew."""
    if pool is None:
        return Reason.POOL_NOT_FOUND
    said = workers_of(pool)
    return "" if said is None else said.reason


def seen_again(status: S, generation: int) -> S:
    """Return the status of something that is over, for a newer spec that changes nothing of it.

    Its conditions say so as well: ``kubectl wait`` passes over one of an older generation.
    """
    conditions = tuple(
        each.model_copy(update={"observed_generation": generation}) for each in status.conditions
    )
    return status.model_copy(update={"observed_generation": generation, "conditions": conditions})
