"""Errands: one workflow for each kind of waiting and doing, as a ConfigMap gives them to workers.

Every effect is a line in the ledger that the order example writes too. An activity returns its
attempt, so that history says which of its calls counts.
"""

import json
import os
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

from perdure import activity, workflow
from perdure.common import Pod, RetryPolicy

SOON = RetryPolicy(initial_interval=timedelta(milliseconds=200), backoff_coefficient=1)
QUICK: dict[str, Any] = {"start_to_close_timeout": timedelta(seconds=60), "retry_policy": SOON}
ITEMS = 12
HEARD = 4
NAP = 3.0
"""Seconds."""

CONTAINER = """
import json, os
line = {"effect": "wrap", "order": json.loads(os.environ["PERDURE_INPUT"])[0]}
line["key"] = os.environ["PERDURE_IDEMPOTENCY_KEY"]
line["attempt"] = int(os.environ["PERDURE_ATTEMPT"])
with open("/ledger/orders.jsonl", "a") as ledger:
    ledger.write(json.dumps(line) + "\\n")
    ledger.flush()
    os.fsync(ledger.fileno())
with open(os.environ["PERDURE_RESULT_FILE"], "w") as result:
    result.write(str(line["attempt"]))
"""


def write(effect: str, errand: str) -> int:
    """Do the side effect: one line, on disk when this returns the attempt."""
    info = activity.info()
    line = {"effect": effect, "order": errand, "key": info.idempotency_key, "attempt": info.attempt}
    with Path(os.environ["ORDER_LEDGER"]).open("a") as ledger:
        ledger.write(json.dumps(line) + "\n")
        ledger.flush()
        os.fsync(ledger.fileno())
    return info.attempt


@activity.defn
def do(effect: str, errand: str) -> int:
    return write(effect, errand)


@activity.defn
def bake(errand: str) -> int:
    """Take a while first: a worker that is stopped meanwhile has its effect when it goes on."""
    time.sleep(NAP)
    return write("bake", errand)


@activity.defn
def glaze(errand: str) -> int:
    """Take a while afterwards: a worker that is killed meanwhile has had its effect for nothing."""
    attempt = write("glaze", errand)
    time.sleep(NAP)
    return attempt


@activity.defn
def pack(item: list[Any]) -> int:
    errand, index = item
    attempt = write(f"pack-{index}", errand)
    time.sleep(0.5)
    return attempt


@activity.defn
def apart(errand: str) -> int:
    return write("apart", errand)


async def done(effect: str, errand: str) -> int:
    return await workflow.execute_activity(do, args=[effect, errand], **QUICK)


@workflow.defn
class Baking:
    """Activities that take long enough for a fault to come."""

    @workflow.run
    async def run(self, errand: str) -> list[int]:
        baked = await workflow.execute_activity(bake, errand, **QUICK)
        return [baked, await workflow.execute_activity(glaze, errand, **QUICK)]


@workflow.defn
class Packing:
    """A batch."""

    @workflow.run
    async def run(self, errand: str) -> list[int]:
        items = [[errand, index] for index in range(ITEMS)]
        return await workflow.map_activities(pack, items, parallelism=4, **QUICK)


@workflow.defn
class Hearing:
    """Signals, each with an effect of its own."""

    def __init__(self) -> None:
        self.heard: list[int] = []

    @workflow.signal
    def word(self, number: int) -> None:
        self.heard.append(number)

    @workflow.run
    async def run(self, errand: str) -> list[int]:
        for number in range(HEARD):
            await workflow.wait_condition(lambda number=number: len(self.heard) > number)
            await done(f"hear-{number}", errand)
        return self.heard


@workflow.defn
class Napping:
    """A timer between two effects."""

    @workflow.run
    async def run(self, errand: str) -> float:
        await done("lie-down", errand)
        began = workflow.now()
        await workflow.sleep(NAP)
        slept = (workflow.now() - began).total_seconds()
        await done("get-up", errand)
        return slept


@workflow.defn
class Giving:
    """Waits for good, and gives back what it took when it is cancelled."""

    @workflow.run
    async def run(self, errand: str) -> None:
        await done("take", errand)
        try:
            await workflow.wait_condition(lambda: False)
        finally:
            await done("give-back", errand)


@workflow.defn
class Wrapping:
    """An activity in a pod of its own, and a container."""

    @workflow.run
    async def run(self, errand: str, image: str) -> list[int]:
        first = await workflow.execute_activity(apart, errand, pod=Pod(), **QUICK)
        volume = {"name": "ledger", "persistentVolumeClaim": {"claimName": "orders-ledger"}}
        second = await workflow.execute_container(
            image,
            name="wrap",
            command=["python", "-c", CONTAINER],
            input=[errand],
            result_type=int,
            volumes=[volume],
            volume_mounts=[{"name": "ledger", "mountPath": "/ledger"}],
            template={"spec": {"securityContext": {"fsGroup": 10001}}},
            **QUICK,
        )
        return [first, second]


@workflow.defn
class Reporting:
    """One effect, under the workflow's own id: for a Schedule, whose runs have all one input."""

    @workflow.run
    async def run(self) -> int:
        return await done("report", workflow.info().workflow_id)
