"""Manifests of custom resources, good ones and bad ones with the words of their refusal.

One list serves the models' tests, which need nothing, and the tests on a real API server.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

API_VERSION = "perdure.dev/v1alpha1"

Manifest = dict[str, Any]


def manifest_of(kind: str, name: str, **spec: Any) -> Manifest:
    """Return a manifest of this kind with this spec."""
    return {
        "apiVersion": API_VERSION,
        "kind": kind,
        "metadata": {"name": name},
        "spec": spec,
    }


def _workflow(**spec: Any) -> Manifest:
    return manifest_of("Workflow", "a", **({"type": "T", "workerPool": "p"} | spec))


def _activity(**spec: Any) -> Manifest:
    return manifest_of("Activity", "a", **({"type": "f", "workerPool": "p"} | spec))


def _pool(**spec: Any) -> Manifest:
    return manifest_of("WorkerPool", "a", **({"image": "x:1", "modules": ["m"]} | spec))


def _schedule(**spec: Any) -> Manifest:
    template = {"spec": {"type": "T", "workerPool": "p"}}
    return manifest_of(
        "Schedule", "a", **({"cron": ["@daily"], "workflowTemplate": template} | spec)
    )


ACCEPTED: Mapping[str, Manifest] = {
    "workflow-in-full": manifest_of(
        "Workflow",
        "order-42",
        type="OrderWorkflow",
        input=[{"orderId": "42"}],
        workerPool="orders",
        timeouts={"execution": "30d"},
        suspend=False,
        cancel=False,
        signals=[{"id": "a1", "name": "approve", "input": [True]}],
        ttlSecondsAfterFinished=86400,
        deletionPolicy="Cancel",
    ),
    "activity-that-is-a-container": manifest_of(
        "Activity",
        "a",
        template={
            "image": "busybox:1",
            "command": ["sh", "-c"],
            "args": ["echo $(PERDURE_INPUT)"],
            "env": [{"name": "A", "value": "1"}],
            "resources": {"limits": {"memory": "64Mi"}},
            "nodeSelector": {"disk": "ssd"},
            "nonRetryableExitCodes": [3],
            "pod": {"spec": {"tolerations": [{"operator": "Exists"}]}},
        },
        input=[{"any": None}],
    ),
    "activity-with-a-pod-of-its-own": _activity(template={"resources": {"limits": {"cpu": "1"}}}),
    "activity-that-shows-one-of-a-run": manifest_of(
        "Activity", "a", type="f", scheduledBy={"workflowId": "o", "runId": "r", "seq": 1}
    ),
    "workflow-in-short": _workflow(),
    "workflow-that-stands-alone": manifest_of(
        "Workflow",
        "alone",
        type="Hello",
        worker={"code": {"configMap": "hello-code"}},
    ),
    "workflow-with-any-json": _workflow(
        input=[None, True, 1, 1.5, "s", [1, [None]], {"a": {"b": None}}],
        memo={"a": {"b": [1, "2"]}},
    ),
    "workflow-with-policies": _workflow(
        timeouts={"execution": "1h30m", "run": "500ms"},
    ),
    "activity-with-a-retry-policy": _activity(
        retryPolicy={
            "initialInterval": "1s",
            "backoffCoefficient": 1.5,
            "maximumInterval": "100s",
            "maximumAttempts": 3,
            "nonRetryableErrorTypes": ["ValueError"],
        },
    ),
    "activity": _activity(
        input=["s3://in"],
        retryPolicy={"maximumAttempts": 5},
        timeouts={"startToClose": "5m", "heartbeat": "30s"},
    ),
    "activity-batch": _activity(
        items=[["a"], ["b", 1], [None]], parallelism=2, toleratedFailures=1
    ),
    "pool-with-image": manifest_of(
        "WorkerPool",
        "orders",
        image="registry.example/orders:1.4",
        modules=["orders.workflows"],
        taskQueue="orders",
        slots=100,
        scaling={"min": 0, "max": 20, "idleAfter": "60s"},
        template={"spec": {"nodeSelector": {"disk": "ssd"}, "containers": [{"name": "worker"}]}},
        env=[
            {"name": "MODE", "value": "live"},
            {"name": "KEY", "valueFrom": {"secretKeyRef": {"name": "card", "key": "key"}}},
        ],
    ),
    "pool-with-code": manifest_of("WorkerPool", "hello", code={"configMap": "hello-code"}),
    "pool-with-code-on-an-image": manifest_of(
        "WorkerPool", "both", image="x:1", code={"configMap": "hello-code"}
    ),
    "schedule-in-short": _schedule(),
    "schedule-in-full": manifest_of(
        "Schedule",
        "report",
        cron=["0 9 * * MON-FRI", "*/15 8-17/2 1,15 JAN-mar *", "0 0 L * *"],
        intervals=[{"every": "90m", "offset": "15m"}],
        calendars=[
            {
                "second": [{"start": 0, "end": 59, "step": 10}],
                "minute": [{"start": 0}],
                "hour": [{"start": 8, "end": 17}],
                "dayOfMonth": [{"start": 1, "end": 7}],
                "month": [{"start": 1}],
                "dayOfWeek": [{"start": 1}],
                "year": [{"start": 2027, "end": 2030}],
                "comment": "the first Monday of the year",
            }
        ],
        skip=[{"month": [{"start": 12}], "dayOfMonth": [{"start": 25}], "comment": "Christmas"}],
        timeZone="Europe/Berlin",
        startAt="2026-01-01T00:00:00Z",
        endAt="2030-01-01T00:00:00+01:00",
        jitter="5m",
        overlapPolicy="BufferOne",
        catchUpWindow="1h",
        pause=True,
        pauseOnFailure=True,
        note="until the new report is there",
        limitedActions=10,
        successfulWorkflowsLimit=5,
        failedWorkflowsLimit=0,
        triggers=[{"id": "now", "overlapPolicy": "Skip"}],
        backfills=[
            {"id": "may", "start": "2026-05-01T00:00:00Z", "end": "2026-05-31T00:00:00+02:00"}
        ],
        workflowTemplate={
            "metadata": {"labels": {"team": "a"}, "annotations": {"b": "c"}},
            "spec": {
                "type": "Report",
                "input": [{"kind": "daily"}, None],
                "worker": {"code": {"configMap": "report-code"}},
                "timeouts": {"execution": "1h"},
                "memo": {"a": 1},
                "deletionPolicy": "Orphan",
            },
        },
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """A manifest that is not accepted."""

    manifest: Manifest
    server_says: str | None
    """Words of the API server's refusal; None where it cannot see the fault."""
    model_says: str | None
    """Words of the model's refusal; None where only the API server sees the fault."""


def _refused(manifest: Manifest, server: str | None, model: str | None = None) -> Refused:
    return Refused(manifest=manifest, server_says=server, model_says=model or server)


_ONE_WORKER = "give exactly one of workerPool (a WorkerPool's name) and worker"
_NOT_A_DURATION = "should match '^([0-9]{1,9}(ms|d|h|m|s)){1,5}$'"

REFUSED: Mapping[str, Refused] = {
    "schedule-of-no-time": _refused(_schedule(cron=None), "say when: give cron"),
    "schedule-with-a-cron-field-too-few": _refused(
        _schedule(cron=["0 9 * *"]), "spec.cron[0]", "write minute, hour"
    ),
    "schedule-with-a-minute-too-late": _refused(
        _schedule(cron=["60 9 * * *"]), "spec.cron[0]", "write minute, hour"
    ),
    "schedule-on-a-day-that-never-comes": Refused(
        manifest=_schedule(cron=["0 9 31 2 *"]),
        server_says=None,
        model_says="is not a cron expression (bad day-of-month)",
    ),
    "schedule-in-no-time-zone": Refused(
        manifest=_schedule(timeZone="Europe/Berlni"),
        server_says=None,
        model_says="there is no time zone",
    ),
    "schedule-with-an-hour-too-late": _refused(
        _schedule(calendars=[{"hour": [{"start": 24}]}]), "hour goes from 0 to 23"
    ),
    "schedule-with-a-range-that-runs-backwards": _refused(
        _schedule(calendars=[{"hour": [{"start": 9, "end": 8}]}]), "end lies before start"
    ),
    "schedule-with-a-backfill-that-runs-backwards": _refused(
        _schedule(
            backfills=[{"id": "a", "start": "2026-01-02T00:00:00Z", "end": "2026-01-01T00:00:00Z"}]
        ),
        "end lies before start",
    ),
    "schedule-with-an-interval-of-nothing": _refused(
        _schedule(intervals=[{"every": "0s"}]), "must be longer than zero", "longer than zero"
    ),
    "schedule-with-an-unknown-policy": _refused(
        _schedule(overlapPolicy="Forbid"), 'supported values: "Skip"', "spec.overlapPolicy"
    ),
    "schedule-whose-template-is-canceled": _refused(
        _schedule(workflowTemplate={"spec": {"type": "T", "workerPool": "p", "cancel": True}}),
        'unknown field "spec.workflowTemplate.spec.cancel"',
        "spec.workflowTemplate.spec.cancel",
    ),
    "schedule-whose-template-runs-nowhere": _refused(
        _schedule(workflowTemplate={"spec": {"type": "T"}}), _ONE_WORKER
    ),
    "schedule-with-a-long-name": _refused(
        _schedule() | {"metadata": {"name": "a" * 53}},
        "the name of a Schedule can have at most 52 characters",
    ),
    "schedule-with-a-trigger-twice": _refused(
        _schedule(triggers=[{"id": "a"}, {"id": "a"}]), "Duplicate value", "'a' is there again"
    ),
    "workflow-without-type": _refused(
        manifest_of("Workflow", "a", workerPool="p"), "spec.type: Required value", "spec.type"
    ),
    "workflow-without-spec": _refused(
        {"apiVersion": API_VERSION, "kind": "Workflow", "metadata": {"name": "a"}},
        "spec: Required value",
        "Field required",
    ),
    "workflow-nowhere": _refused(manifest_of("Workflow", "a", type="T"), _ONE_WORKER),
    "workflow-in-two-places": _refused(_workflow(worker={"code": {"configMap": "c"}}), _ONE_WORKER),
    "workflow-with-a-wrong-field": _refused(
        _workflow(inputs=[1]), 'unknown field "spec.inputs"', "spec.inputs"
    ),
    "workflow-with-a-wrong-field-further-down": _refused(
        _workflow(timeouts={"executions": "1d"}),
        'unknown field "spec.timeouts.executions"',
        "spec.timeouts.executions",
    ),
    "workflow-with-input-that-is-no-list": _refused(
        _workflow(input={"orderId": "42"}), "spec.input", "valid tuple"
    ),
    "workflow-with-a-number-for-a-duration": _refused(
        _workflow(timeouts={"run": 30}), "spec.timeouts.run", "it is not text"
    ),
    "workflow-with-a-duration-without-unit": _refused(
        _workflow(timeouts={"run": "30"}), _NOT_A_DURATION, "its unit is missing"
    ),
    "workflow-with-a-timeout-of-nothing": _refused(
        _workflow(timeouts={"run": "0s"}), "must be longer than zero", "longer than zero"
    ),
    "workflow-with-one-signal-twice": _refused(
        _workflow(signals=[{"id": "1", "name": "go"}, {"id": "1", "name": "stop"}]),
        "spec.signals[1]: Duplicate value",
        "each id may be there once, and '1' is there again",
    ),
    "workflow-with-a-signal-without-id": _refused(
        _workflow(signals=[{"name": "go"}]), "spec.signals[0].id: Required value", "id"
    ),
    "workflow-with-an-unknown-deletion-policy": _refused(
        _workflow(deletionPolicy="Forget"),
        'supported values: "Cancel", "Terminate", "Orphan"',
        "'Cancel', 'Terminate' or 'Orphan'",
    ),
    "activity-with-a-shrinking-backoff": _refused(
        _activity(retryPolicy={"backoffCoefficient": 0.5}),
        "should be greater than or equal to 1",
        "greater than or equal to 1",
    ),
    "workflow-with-too-many-arguments": _refused(
        _workflow(input=[0] * 65), "must have at most 64 items", "at most 64 items"
    ),
    "workflow-with-a-pool-of-another-name": _refused(
        _workflow(workerPool="Orders!"), "spec.workerPool", "spec.workerPool"
    ),
    "workflow-whose-own-worker-has-no-code": _refused(
        manifest_of("Workflow", "a", type="T", worker={"slots": 1}), "there is no code to run"
    ),
    "activity-without-pool": _refused(
        manifest_of("Activity", "a", type="f"), "workerPool is missing: name the WorkerPool"
    ),
    "activity-without-type-or-template": _refused(
        manifest_of("Activity", "a", workerPool="p"), "there is nothing to run: give type"
    ),
    "activity-with-a-container-without-image": _refused(
        manifest_of("Activity", "a", template={"command": ["true"]}), "template.image is missing"
    ),
    "activity-with-exit-codes-of-a-worker": _refused(
        _activity(template={"nonRetryableExitCodes": [3]}),
        "nonRetryableExitCodes are for containers",
    ),
    "activity-with-a-command-of-a-worker": _refused(
        _activity(template={"command": ["sh"]}), "template.command, args and"
    ),
    "activity-with-items-in-pods": _refused(
        _activity(items=[[1]], template={"image": "x:1"}), None, "items and template cannot"
    ),
    "activity-shown-and-canceled": _refused(
        _activity(scheduledBy={"workflowId": "o", "runId": "r", "seq": 1}, cancel=True),
        "cancel has no effect on an Activity that shows one of a run",
    ),
    "activity-with-an-exit-code-that-is-none": _refused(
        manifest_of("Activity", "a", template={"image": "x", "nonRetryableExitCodes": [256]}),
        "should be less than or equal to 255",
        "less than or equal to 255",
    ),
    "activity-with-a-pod-template-for-a-template": _refused(
        manifest_of("Activity", "a", template={"spec": {"containers": []}}),
        None,
        "template.spec",
    ),
    "activity-with-input-and-items": _refused(
        _activity(input=[1], items=[[1]]), None, "give input (one activity) or items"
    ),
    "activity-parallel-without-items": _refused(
        _activity(parallelism=2), None, "parallelism is for a batch"
    ),
    "activity-tolerant-without-items": _refused(
        _activity(toleratedFailures=2), None, "toleratedFailures is for a batch"
    ),
    "activity-with-items-that-are-no-lists": _refused(
        _activity(items=["a", "b"]), "spec.items[0]", "valid tuple"
    ),
    "activity-with-an-empty-batch": _refused(
        _activity(items=[]), "should have at least 1 items", "at least 1 item"
    ),
    "pool-without-code": _refused(manifest_of("WorkerPool", "a"), "there is no code to run"),
    "pool-without-modules": _refused(
        manifest_of("WorkerPool", "a", image="x"), "modules is missing"
    ),
    "pool-with-a-file-for-a-module": _refused(
        _pool(modules=["orders/workflows.py"]), "spec.modules[0]", "spec.modules.0"
    ),
    "pool-with-min-above-max": _refused(
        _pool(scaling={"min": 5, "max": 2}), "scaling.min is above scaling.max"
    ),
    "pool-with-no-slots": _refused(
        _pool(slots=0), "should be greater than or equal to 1", "greater than or equal to 1"
    ),
    "pool-with-one-variable-twice": _refused(
        _pool(env=[{"name": "A", "value": "1"}, {"name": "A", "value": "2"}]),
        "spec.env[1]: Duplicate value",
        "each name may be there once, and 'A' is there again",
    ),
    "pool-with-a-name-too-long": _refused(
        _pool() | {"metadata": {"name": "a" * 49}}, "the name is longer than 48 characters"
    ),
}

REFUSED_BY_MODEL = {id_: case for id_, case in REFUSED.items() if case.model_says}
REFUSED_BY_SERVER = {id_: case for id_, case in REFUSED.items() if case.server_says}


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A merge patch of a resource that exists, and whether it may be."""

    manifest: Manifest
    patch: Mapping[str, Any]
    refused_with: str | None = None
    """Words of the refusal; None where the change is allowed."""


_RUN = ACCEPTED["workflow-in-full"]
_BATCH = ACCEPTED["activity-batch"]
_POOL = ACCEPTED["pool-with-image"]
_SCHEDULE = ACCEPTED["schedule-in-full"]
_FIRST_BACKFILL = _SCHEDULE["spec"]["backfills"][0]
_FIRST_SIGNAL = _RUN["spec"]["signals"][0]


def _change(manifest: Manifest, refused_with: str | None = None, **patch: Any) -> Change:
    return Change(manifest=manifest, patch={"spec": patch}, refused_with=refused_with)


CHANGES: Mapping[str, Change] = {
    "suspend": _change(_RUN, suspend=True),
    "cancel": _change(_RUN, cancel=True),
    "ttl": _change(_RUN, ttlSecondsAfterFinished=5),
    "no-ttl": _change(_RUN, ttlSecondsAfterFinished=None),
    "deletion-policy": _change(_RUN, deletionPolicy="Orphan"),
    "another-signal": _change(_RUN, signals=[_FIRST_SIGNAL, {"id": "a2", "name": "go"}]),
    "the-same-input": _change(_RUN, input=[{"orderId": "42"}]),
    "a-label": Change(manifest=_RUN, patch={"metadata": {"labels": {"a": "b"}}}),
    "type": _change(_RUN, "type cannot be changed", type="Other"),
    "input": _change(_RUN, "input cannot be changed", input=[{"orderId": "43"}]),
    "less-input": _change(_RUN, "input cannot be changed", input=[]),
    "pool": _change(_RUN, "workerPool cannot be changed", workerPool="others"),
    "pool-to-worker": _change(
        _RUN,
        "worker cannot be changed",
        workerPool=None,
        worker={"code": {"configMap": "c"}},
    ),
    "workflow-id": _change(_RUN, "workflowId cannot be changed", workflowId="x"),
    "timeout": _change(_RUN, "timeouts cannot be changed", timeouts={"run": "1s"}),
    "memo": _change(_RUN, "memo cannot be changed", memo={"a": 1}),
    "signal-removed": _change(_RUN, "signals can only be appended", signals=[]),
    "all-signals-removed": _change(_RUN, "signals can only be appended", signals=None),
    "signal-replaced": _change(
        _RUN, "signals can only be appended", signals=[{"id": "a2", "name": "go"}]
    ),
    "signal-renamed": _change(
        _RUN, "a signal cannot be changed", signals=[_FIRST_SIGNAL | {"name": "reject"}]
    ),
    "signal-with-other-input": _change(
        _RUN, "a signal cannot be changed", signals=[_FIRST_SIGNAL | {"input": [False]}]
    ),
    "activity-cancel": _change(_BATCH, cancel=True),
    "activity-type": _change(_BATCH, "type cannot be changed", type="g"),
    "activity-items": _change(
        _BATCH, "input and items and template cannot be changed", items=[["z"]]
    ),
    "activity-template": _change(
        _BATCH, "input and items and template cannot be changed", template={"image": "y:1"}
    ),
    "activity-scheduled-by": _change(
        _BATCH,
        "scheduledBy cannot be changed",
        scheduledBy={"workflowId": "w", "runId": "r", "seq": 1},
    ),
    "activity-parallelism": _change(_BATCH, "parallelism cannot be changed", parallelism=9),
    "activity-pool": _change(_BATCH, "workerPool cannot be changed", workerPool="q"),
    "pool-image": _change(_POOL, image="registry.example/orders:1.5"),
    "pool-scaling": _change(_POOL, scaling={"max": 3}),
    "pool-queue": _change(_POOL, "taskQueue cannot be changed", taskQueue="q"),
    "schedule-times": _change(_SCHEDULE, cron=["@hourly"], intervals=None, timeZone="UTC"),
    "schedule-template": _change(
        _SCHEDULE, workflowTemplate={"spec": {"type": "Other", "input": [2], "memo": None}}
    ),
    "another-trigger": _change(
        _SCHEDULE, triggers=[{"id": "now", "overlapPolicy": "Skip"}, {"id": "again"}]
    ),
    "no-triggers": _change(_SCHEDULE, "triggers can only be appended", triggers=[]),
    "other-trigger": _change(
        _SCHEDULE,
        "a trigger cannot be changed",
        triggers=[{"id": "now", "overlapPolicy": "AllowAll"}],
    ),
    "other-backfill": _change(
        _SCHEDULE,
        "a backfill cannot be changed",
        backfills=[_FIRST_BACKFILL | {"overlapPolicy": "Skip"}],
    ),
    "no-pool-queue": _change(_POOL, "taskQueue cannot be changed", taskQueue=None),
}
"""Each begins with the manifest as it is in ACCEPTED."""
