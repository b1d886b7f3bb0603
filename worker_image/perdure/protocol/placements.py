"""Where an activity runs when it has a pod of its own.

The server keeps a placement and hands it on; what it means to Kubernetes is the operator's
business, which makes one Job of each attempt.
"""

from __future__ import annotations

from typing import Any

import msgspec

MAX_CONTAINER_INPUT_BYTES = 200 * 1024
"""The most that the arguments of a container activity may hold together, as JSON.

They reach the container as a file that is made from an annotation of its pod, and all
annotations of a pod together hold 256 KiB.
"""


class Placement(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A pod of its own for each attempt of an activity."""

    container: bool = False
    """Any container: no worker takes it, the operator does and reports how its pod ended.

    Otherwise it is a registered activity, and the pod is a worker that runs nothing else."""
    template: dict[str, Any] = {}
    """What the pod is made from, as in ``spec.template`` of an Activity; JSON."""
    worker_pool: str = ""
    """The WorkerPool that the rest is taken from; empty: the one that serves the task queue."""
