"""Activities that have a pod of their own: who runs their attempts, and by what right.

A registered activity with its own pod is dispatched like any other, on a queue that is its own:
the one worker there takes it and nothing else. A container is no worker, so nothing of it is
dispatched: whoever may *takes* its next attempt and is given a token. The token stands where a
worker's name would, and no session is behind it: neither a restart of the server nor a broken
connection loses such an attempt; only its own timeouts do.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass

from msgspec import structs

from perdure.protocol import events as ev
from perdure.protocol.payloads import Millis
from perdure_operator.engine import attempts
from perdure_operator.engine.transitions import OpenActivity

_TAKEN = "token:"
"""In front of the secret, where a worker's id (namespace/name) would be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TakenAttempt:
    """What a token says: one attempt, and the secret that proves it."""

    run_id: str
    seq: int
    attempt: int
    secret: str

    def token(self) -> str:
        """Return it as one word."""
        return f"{self.run_id}.{self.seq}.{self.attempt}.{self.secret}"

    def opens(self, activity: OpenActivity) -> bool:
        """Whether the running attempt of ``activity`` was given this very token."""
        expected = f"{_TAKEN}{self.secret}".encode()
        return hmac.compare_digest(activity.worker_id.encode(), expected)


def is_container(scheduled: ev.ActivityScheduled) -> bool:
    """Whether no worker can run it."""
    return scheduled.placement is not None and scheduled.placement.container


def own_queue(run_id: str, scheduled: ev.ActivityScheduled) -> str:
    """Return the queue that only this activity is on; empty when it has none."""
    if scheduled.placement is None or scheduled.placement.container:
        return ""
    return f"pod/{run_id}/{scheduled.seq}"


def schedule(run_id: str, scheduled: ev.ActivityScheduled, now: Millis) -> OpenActivity:
    """Return the activity as it begins, on its own queue if it has one."""
    activity = attempts.schedule(scheduled, now)
    queue = own_queue(run_id, scheduled)
    return structs.replace(activity, task_queue=queue) if queue else activity


def take(
    scheduled: ev.ActivityScheduled,
    activity: OpenActivity,
    *,
    secret: str,
    identity: str,
    now: Millis,
) -> OpenActivity:
    """Begin the next attempt for whoever gets the token."""
    return attempts.begin(
        scheduled, activity, worker_id=f"{_TAKEN}{secret}", identity=identity, now=now
    )


def is_taken(activity: OpenActivity) -> bool:
    """Whether its running attempt was taken with a token."""
    return activity.worker_id.startswith(_TAKEN)


def taken_attempt(run_id: str, activity: OpenActivity) -> TakenAttempt:
    """Return what the token of the running attempt says."""
    return TakenAttempt(
        run_id=run_id,
        seq=activity.seq,
        attempt=activity.attempt,
        secret=activity.worker_id.removeprefix(_TAKEN),
    )


def read_token(token: str) -> TakenAttempt | None:
    """Return what a token says, or ``None`` if it is none."""
    run_id, *rest = token.rsplit(".", 3)
    if len(rest) != 3 or not run_id:
        return None
    seq, attempt, secret = rest
    if not (_is_number(seq) and _is_number(attempt) and secret):
        return None
    return TakenAttempt(run_id=run_id, seq=int(seq), attempt=int(attempt), secret=secret)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 10
