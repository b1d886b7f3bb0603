"""Deleting what is over when its time to live has passed, as a Job's does."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from perdure_operator.cluster import ObjectKind
from perdure_operator.controllers.actions import Plan, delete_object
from perdure_operator.model import ObjectMeta


def time_to_live(seconds: int | None, ended: datetime | None, now: datetime) -> timedelta | None:
    """Return how long an object that is over has left, or None when it stays."""
    if seconds is None or ended is None:
        return None
    return ended + timedelta(seconds=seconds) - now


def expire(kind: ObjectKind, metadata: ObjectMeta, plan: Plan, *, left: timedelta | None) -> Plan:
    """Return the plan with the object's deletion, now or when its time has passed."""
    if left is None:
        return plan
    if left > timedelta():
        return replace(plan, again=left)
    return replace(plan, actions=[*plan.actions, delete_object(kind, metadata)])
