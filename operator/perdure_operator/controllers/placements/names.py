"""What the objects of an activity's attempts are called.

Names follow from the run and the activity's ``seq`` alone: whoever plans the same thing again, by
a race or after a restart, makes an object that is there already.
"""

from __future__ import annotations

import hashlib
import re

LABEL_MAX = 63
"""A label's value, and so the name of a Job, which labels its pods, is no longer."""

ACTIVITY_LABEL = "perdure.dev/activity"
"""On Jobs and pods: the Activity, as far as it fits; the annotation of this name has it whole."""
ATTEMPT_LABEL = "perdure.dev/attempt"
WORKFLOW_LABEL = "perdure.dev/workflow"
RUN_LABEL = "perdure.dev/run-id"

_READABLE = 40


def shown_name(workflow_id: str, run_id: str, seq: int) -> str:
    """Return the name of the Activity that shows an activity of a run."""
    return f"{_slug(workflow_id)}-{seq}-{_digest(run_id, seq)}"


def job_name(activity: str, run_id: str, seq: int, attempt: int) -> str:
    """Return the name of the Job of one attempt.

    Args:
        activity: The name of the Activity, for people.
        run_id: The run.
        seq: Which activity of the run.
        attempt: Which attempt of it.
    """
    return f"{_slug(activity)}-{_digest(run_id, seq)}-{attempt}"


def label_value(text: str) -> str:
    """Return a text as a label can have it: as it is when it fits, else cut and told apart."""
    if len(text) <= LABEL_MAX and re.fullmatch(r"[A-Za-z0-9]([-._A-Za-z0-9]*[A-Za-z0-9])?", text):
        return text
    return f"{_slug(text)}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def _slug(text: str) -> str:
    kept = re.sub(r"[^a-z0-9]+", "-", text.lower())[:_READABLE].strip("-")
    return kept or "run"


def _digest(run_id: str, seq: int) -> str:
    return hashlib.sha256(f"{run_id}/{seq}".encode()).hexdigest()[:8]
