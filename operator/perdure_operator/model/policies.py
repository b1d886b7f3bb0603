"""Retry policies, timeouts and failures: what Workflows and Activities have in common."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

from pydantic import Field

from perdure_operator.model.fields import Clipped, PositiveDuration, SpecModel, StatusModel


class RetryPolicy(SpecModel):
    """How often, and how long after one another, failed attempts are repeated."""

    initial_interval: PositiveDuration = timedelta(seconds=1)
    """How long to wait before the first retry."""
    backoff_coefficient: float = Field(default=2.0, ge=1, le=100)
    """By what the wait is multiplied after each further failure."""
    maximum_interval: PositiveDuration | None = None
    """The longest wait between two attempts. Without it: 100 times initialInterval."""
    maximum_attempts: int = Field(default=0, ge=0, le=2**31 - 1)
    """How many attempts there are at most, the first one included. 0 means without limit."""
    non_retryable_error_types: Annotated[
        tuple[Annotated[str, Field(min_length=1, max_length=255)], ...], Field(max_length=64)
    ] = ()
    """Error types (the exception's class name, or the type given to ApplicationError) that end
    the retries at once."""


class WorkflowTimeouts(SpecModel):
    """How long a workflow may take. Without a timeout there is no limit."""

    execution: PositiveDuration | None = None
    """The time from the start to the end, over all retries and continuations."""
    run: PositiveDuration | None = None
    """The time that one run may take; a retry or a continuation starts it anew."""


class ActivityTimeouts(SpecModel):
    """How long an activity may take."""

    start_to_close: PositiveDuration | None = None
    """The time that one attempt may take. Without it: scheduleToClose."""
    schedule_to_close: PositiveDuration | None = None
    """The time from the start to the end, over all attempts. Without it there is no limit."""
    schedule_to_start: PositiveDuration | None = None
    """The time an attempt may wait for a worker. Without it there is no limit."""
    heartbeat: PositiveDuration | None = None
    """The longest silence between two heartbeats. Without it no heartbeat is expected."""


class Failure(StatusModel):
    """Why something did not succeed."""

    message: Annotated[str, Clipped(4096)] = ""
    """What went wrong, as the code said it."""
    type: Annotated[str, Clipped(255)] = ""
    """The error's type: the exception's class name, or what the code gave instead."""
    non_retryable: bool = False
    """Whether the code asked for no retry."""
    step: Annotated[str, Clipped(255)] | None = None
    """The activity, step or child workflow that the error comes from."""
    cause: Annotated[str, Clipped(4096)] | None = None
    """The error that led to this one."""
    stack_trace: Annotated[str, Clipped(4096)] | None = None
    """Where in the code it happened."""
