"""What people get wrong in manifests, as they write it, and the words that they are told.

One list serves as the promise and as the test: these mistakes are refused when they are applied,
those in :mod:`support.mistakes_said` are said in a condition of the object. Changes of what exists
are in :mod:`support.manifests`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from textwrap import indent

API_VERSION = "perdure.dev/v1alpha1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Mistake:
    """A wrong manifest."""

    what: str
    """The mistake, in a few words."""
    text: str
    """The manifest."""
    told: tuple[str, ...]
    """Words that the person has to see: where, what is wrong, what to write."""
    reason: str = ""
    """Of the condition Stalled; empty when the API server refuses the manifest."""
    name: str = "a"


def manifest_text(kind: str, name: str, spec: str) -> str:
    """Return a manifest of this kind, with a spec that is text as well."""
    head = f"apiVersion: {API_VERSION}\nkind: {kind}\nmetadata:\n  name: {name}\n"
    return f"{head}spec:\n{indent(spec.strip(), '  ')}\n"


_BEGINNINGS = {
    "Workflow": "type: T\nworkerPool: p\n",
    "Activity": "type: f\nworkerPool: p\n",
    "WorkerPool": "image: x:1\nmodules: [m]\n",
    "Schedule": "workflowTemplate: {spec: {type: T, workerPool: p}}\n",
}


def _in(kind: str, *mistakes: tuple[str, str, str | tuple[str, ...]]) -> Iterator[Mistake]:
    """Yield mistakes in a manifest that otherwise is a good one of this kind."""
    for what, spec, told in mistakes:
        words = (told,) if isinstance(told, str) else told
        text = manifest_text(kind, "a", _BEGINNINGS[kind] + spec)
        yield Mistake(what=f"{kind}: {what}", text=text, told=words)


def _whole(kind: str, *mistakes: tuple[str, str, str | tuple[str, ...]]) -> Iterator[Mistake]:
    """Yield mistakes in a spec that is written out."""
    for what, spec, told in mistakes:
        words = (told,) if isinstance(told, str) else told
        yield Mistake(what=f"{kind}: {what}", text=manifest_text(kind, "a", spec), told=words)


_DURATION = "write whole numbers with their units (d, h, m, s, ms), for example 30s"
_NAME = "write the name of an object in the same namespace"
_ONE_PLACE = "give exactly one of workerPool (a WorkerPool's name) and worker"
_CRON = "write minute, hour, day of month, month and day of week, for example 0 9 * * MON-FRI"
_MODULE = "write a module as Python imports it, for example orders.workflows"
_TYPE = "must be of type"
_TEXT = "must be of type string"
_LIST = "must be of type array"
_DATE_TIME = "must be of type date-time"

_HEAD = f"apiVersion: {API_VERSION}\nkind: Workflow\n"

_ANYWHERE = (
    Mistake(
        what="the kind in lower case",
        text=manifest_text("workflow", "a", _BEGINNINGS["Workflow"]),
        told=('kind: Invalid value: "workflow": must be Workflow',),
    ),
    Mistake(
        what="a version that there is not",
        text=manifest_text("Workflow", "a", _BEGINNINGS["Workflow"]).replace("v1alpha1", "v1"),
        told=('no matches for kind "Workflow" in version "perdure.dev/v1"',),
    ),
    Mistake(
        what="spec below metadata",
        text=f"{_HEAD}metadata:\n  name: a\n  spec:\n    type: T\n    workerPool: p\n",
        told=('unknown field "metadata.spec"',),
    ),
    Mistake(
        what="a field beside spec",
        text=f"{_HEAD}metadata: {{name: a}}\nspec: {{type: T, workerPool: p}}\ninput: [1]\n",
        told=('unknown field "input"',),
    ),
    Mistake(
        what="spec as a list",
        text=f"{_HEAD}metadata: {{name: a}}\nspec:\n- type: T\n- workerPool: p\n",
        told=('unknown field "spec[0].type"',),
    ),
    Mistake(
        what="nothing in spec",
        text=f"{_HEAD}metadata: {{name: a}}\nspec:\n",
        told=("spec: Required value",),
    ),
    Mistake(
        what="a number for a name",
        text=manifest_text("Workflow", "42", _BEGINNINGS["Workflow"]),
        told=("metadata.name of type string",),
    ),
    Mistake(
        what="a name with capitals and underscores",
        text=manifest_text("Workflow", "Order_42", _BEGINNINGS["Workflow"]),
        told=("metadata.name", "lower case alphanumeric characters, '-' or '.'"),
    ),
    Mistake(
        what="the name of a pool too long",
        text=manifest_text("WorkerPool", "a" * 49, _BEGINNINGS["WorkerPool"]),
        told=("the name is longer than 48 characters", "choose a shorter one"),
    ),
    Mistake(
        what="the name of a schedule too long",
        text=manifest_text("Schedule", "a" * 53, _BEGINNINGS["Schedule"] + "cron: ['@daily']"),
        told=("the name of a Schedule can have at most 52 characters",),
    ),
)

_WORKFLOWS = (
    *_in(
        "Workflow",
        ("a typing mistake", "inputs: [1]", 'unknown field "spec.inputs"'),
        ("an option of activities", "retryPolicy: {}", 'unknown field "spec.retryPolicy"'),
        ("input that is an object", "input: {a: 1}", 'unknown field "spec.input.a"'),
        ("input that is text", "input: hello", ("spec.input in body", _LIST)),
        ("text for a switch", "cancel: 'true'", ("spec.cancel in body", "of type boolean")),
        ("a number for a switch", "suspend: 1", ("spec.suspend in body", "of type boolean")),
        ("a duration for seconds", "ttlSecondsAfterFinished: 1h", "of type integer"),
        ("negative seconds", "ttlSecondsAfterFinished: -1", "greater than or equal to 0"),
        ("words for a duration", "timeouts: {run: 2 hours}", ("timeouts.run", _DURATION)),
        ("a duration without unit", "timeouts: {run: '30'}", ("timeouts.run", _DURATION)),
        ("a number for a duration", "timeouts: {run: 30}", ("timeouts.run in body", _TEXT)),
        ("a negative duration", "timeouts: {run: '-1s'}", ("timeouts.run", _DURATION)),
        ("an unknown unit", "timeouts: {run: 1M}", ("timeouts.run", _DURATION)),
        ("fractions of an hour", "timeouts: {run: 1.5h}", ("timeouts.run", _DURATION)),
        ("ISO 8601", "timeouts: {run: PT1H}", ("timeouts.run", _DURATION)),
        ("no time at all", "timeouts: {run: 0s}", "must be longer than zero, such as 30s"),
        ("a timeout of Temporal's name", "timeouts: {executionTimeout: 1h}", "executionTimeout"),
        ("a timeout for all timeouts", "timeouts: 30s", ("spec.timeouts in body", "type object")),
        ("a policy in lower case", "deletionPolicy: cancel", '"Cancel", "Terminate", "Orphan"'),
        ("a policy of others", "deletionPolicy: Delete", '"Cancel", "Terminate", "Orphan"'),
        ("pool and worker", "worker: {code: {configMap: c}}", _ONE_PLACE),
        ("a number for an id", "workflowId: 42", ("spec.workflowId in body", _TEXT)),
        ("notes as a list", "memo: [1]", ("spec.memo in body", "of type object")),
        ("one signal twice", "signals: [{id: a, name: b}, {id: a, name: c}]", "Duplicate value"),
        ("a signal without id", "signals: [{name: go}]", "spec.signals[0].id: Required value"),
        ("a signal without name", "signals: [{id: a}]", "spec.signals[0].name: Required value"),
        ("a signal's id as a number", "signals: [{id: 1, name: go}]", ("signals[0].id", _TEXT)),
        ("a signal's input", "signals: [{id: a, name: b, input: true}]", (".input in body", _LIST)),
        (
            "a signal's args",
            "signals: [{id: a, name: b, args: [1]}]",
            'field "spec.signals[0].args"',
        ),
        ("an unknown retry point", "retries: [{id: a, from: step}]", '"FailedStep", "Start"'),
        ("a retry without id", "retries: [{from: Start}]", "spec.retries[0].id: Required value"),
    ),
    *_whole(
        "Workflow",
        ("a pool in capitals", "type: T\nworkerPool: Orders", ("spec.workerPool", _NAME)),
        ("a pool elsewhere", "type: T\nworkerPool: other/p", ("spec.workerPool", _NAME)),
        ("a pool as an object", "type: T\nworkerPool: {name: p}", '"spec.workerPool.name"'),
        ("a field in wrong case", "type: T\nworkerpool: p", 'unknown field "spec.workerpool"'),
        ("neither pool nor worker", "type: T", _ONE_PLACE),
        ("no type", "workerPool: p", "spec.type: Required value"),
        ("a number for a type", "type: 42\nworkerPool: p", ("spec.type in body", _TEXT)),
        ("a worker without code", "type: T\nworker: {slots: 1}", "there is no code to run: give"),
        ("a worker without modules", "type: T\nworker: {image: x}", "modules is missing: list"),
        ("a worker's code by name", "type: T\nworker: {code: c}", ("worker.code in body", _TYPE)),
        (
            "a pod template without spec",
            "type: T\nworker: {code: {configMap: c}, template: {containers: []}}",
            'unknown field "spec.worker.template.containers"',
        ),
    ),
)

_ACTIVITIES = (
    *_in(
        "Activity",
        ("a timeout of Temporal's name", "timeouts: {startToCloseTimeout: 5m}", "unknown field"),
        ("attempts by a wrong name", "retryPolicy: {maxAttempts: 3}", "retryPolicy.maxAttempts"),
        ("attempts as text", "retryPolicy: {maximumAttempts: '3'}", "of type integer"),
        ("a backoff that shrinks", "retryPolicy: {backoffCoefficient: 0.5}", "or equal to 1"),
        ("items without lists", "items: [a, b]", ("spec.items[0] in body", _LIST)),
        ("items as objects", "items: [{a: 1}]", 'unknown field "spec.items[0].a"'),
        ("no items", "items: []", "spec.items in body should have at least 1 items"),
        ("no parallelism", "items: [[1]]\nparallelism: 0", "should be greater than or equal to 1"),
        ("a share of failures", "items: [[1]]\ntoleratedFailures: 10%", "of type integer"),
        ("negative failures", "items: [[1]]\ntoleratedFailures: -1", "or equal to 0"),
        ("an option of workflows", "suspend: true", 'unknown field "spec.suspend"'),
        ("a worker's command", "template: {command: [sh]}", "command, args and nonRetryableExit"),
    ),
    *_whole(
        "Activity",
        ("nothing to run", "input: [1]", "there is nothing to run: give type"),
        ("no pool", "type: f", "workerPool is missing: name the WorkerPool"),
        ("an image without template", "image: busybox", 'unknown field "spec.image"'),
        ("no image", "template: {command: [true]}", ("spec.template.command[0]", _TEXT)),
        ("a command as text", "template: {image: b, command: echo}", ("template.command", _LIST)),
        ("numbers as arguments", "template: {image: b, args: [1]}", ("template.args[0]", _TEXT)),
        ("variables as a map", "template: {image: b, env: {A: b}}", 'field "spec.template.env.A"'),
        ("a number for a variable", "template: {image: b, env: [{name: A, value: 1}]}", _TEXT),
        ("a node selector of yes", "template: {image: b, nodeSelector: {gpu: yes}}", _TEXT),
        ("success as a failure", "template: {image: b, nonRetryableExitCodes: [0]}", "equal to 1"),
        ("secrets by name", "template: {image: b, imagePullSecrets: [r]}", "of type object"),
        (
            "a volume without a name",
            "template: {image: b, volumes: [{emptyDir: {}}]}",
            "].name: R",
        ),
        ("a pod for a template", "template: {spec: {containers: []}}", '"spec.template.spec"'),
        ("no spec in the pod", "template: {image: b, pod: {containers: []}}", "pod.containers"),
        (
            "a container without a name",
            "template: {image: b, pod: {spec: {containers: [{image: y}]}}}",
            "spec.template.pod.spec.containers[0].name: Required value",
        ),
        (
            "a restart policy",
            "template: {image: b, pod: {spec: {restartPolicy: OnFailure}}}",
            ("spec.template.pod.spec", "leave out restartPolicy"),
        ),
    ),
)

_POOLS = (
    *_in(
        "WorkerPool",
        ("min above max", "scaling: {min: 5, max: 2}", "lower min or raise max"),
        ("min above the default max", "scaling: {min: 25}", "lower min or raise max"),
        ("no workers ever", "scaling: {max: 0}", "scaling.max in body should be greater than or"),
        ("negative workers", "scaling: {min: -1}", "scaling.min in body should be greater than or"),
        ("no time to be idle", "scaling: {idleAfter: 0s}", "must be longer than zero"),
        ("scaling of others", "scaling: {minReplicas: 1}", '"spec.scaling.minReplicas"'),
        ("replicas besides scaling", "replicas: 3", "replicas is obeyed in scaling.mode External"),
        ("negative slots", "slots: -1", "spec.slots in body should be greater than or equal to 1"),
        ("slots as text", "slots: '10'", ("spec.slots in body", "of type integer")),
        ("variables as a map", "env: {A: b}", 'unknown field "spec.env.A"'),
        ("a number for a variable", "env: [{name: A, value: 1}]", ("spec.env[0].value", _TEXT)),
        ("one variable twice", "env: [{name: A}, {name: A}]", "spec.env[1]: Duplicate value"),
        ("a service account in capitals", "serviceAccountName: Foo", _NAME),
        ("a pull policy in lower case", "imagePullPolicy: always", '"Always", "IfNotPresent"'),
        ("versioning in lower case", "versioning: pinned", '"Pinned", "AutoUpgrade"'),
        ("resources beside the template", "resources: {}", 'unknown field "spec.resources"'),
        ("a template without spec", "template: {nodeSelector: {a: b}}", "template.nodeSelector"),
        ("a spec of text", "template: {spec: small}", ("spec.template.spec in body", _TYPE)),
        (
            "a restart policy",
            "template: {spec: {restartPolicy: Always}}",
            "leave out restartPolicy and activeDeadlineSeconds: what fails gets a new pod",
        ),
        (
            "a container without a name",
            "template: {spec: {containers: [{resources: {}}]}}",
            "spec.template.spec.containers[0].name: Required value",
        ),
    ),
    *_whole(
        "WorkerPool",
        ("no code", "slots: 1", "there is no code to run: give image"),
        ("no modules", "image: x:1", "modules is missing: list the Python modules"),
        ("a space in the image", "image: 'x: 1'\nmodules: [m]", "write an image without spaces"),
        ("a file for a module", "image: x\nmodules: [orders.py]", ("modules[0]", _MODULE)),
        ("a path for a module", "image: x\nmodules: [a/b.py]", ("modules[0]", _MODULE)),
        ("a dash in a module", "image: x\nmodules: [my-orders]", ("modules[0]", _MODULE)),
        ("one module without a list", "image: x\nmodules: m", ("spec.modules in body", _LIST)),
        ("code by name", "code: c", ("spec.code in body", "of type object")),
        ("code in wrong case", "code: {configmap: c}", 'unknown field "spec.code.configmap"'),
        ("code from a secret", "code: {secret: c}", 'unknown field "spec.code.secret"'),
    ),
)

DAY = "cron: ['@daily']\n"
_BACKFILL = "{id: a, start: '2026-02-01T00:00:00Z', end: '2026-03-01T00:00:00Z'}"

_SCHEDULES = (
    *_in(
        "Schedule",
        ("no time", "note: x", "say when: give cron, intervals or calendars"),
        ("cron as text", "cron: '0 9 * * *'", ("spec.cron in body", _LIST)),
        ("a schedule of CronJobs", "schedule: '0 9 * * *'", 'unknown field "spec.schedule"'),
        ("a cron field too few", "cron: ['0 9 * *']", ("spec.cron[0]", _CRON)),
        ("seconds in cron", "cron: ['0 0 9 * * *']", ("spec.cron[0]", "for seconds calendars")),
        ("a minute too late", "cron: ['60 9 * * *']", ("spec.cron[0]", _CRON)),
        ("every 90 minutes", "cron: ['*/90 * * * *']", ("spec.cron[0]", "evenly spaced use int")),
        ("every hour", "cron: ['@every 1h']", ("spec.cron[0]", "evenly spaced use intervals")),
        ("a day that is none", "cron: ['0 9 * * MON-FRO']", ("spec.cron[0]", _CRON)),
        ("a question mark", "cron: ['0 9 ? * *']", ("spec.cron[0]", _CRON)),
        ("words", "cron: [every day]", ("spec.cron[0]", _CRON)),
        ("an interval of nothing", "intervals: [{every: 0s}]", "must be longer than zero"),
        ("parts of a second", "intervals: [{every: 500ms}]", "must be whole seconds: write them"),
        ("an interval as text", "intervals: [1h]", ("spec.intervals[0] in body", "type object")),
        ("an hour too late", "calendars: [{hour: [{start: 24}]}]", "hour goes from 0 to 23"),
        ("an hour without a range", "calendars: [{hour: 9}]", ("calendars[0].hour", _LIST)),
        ("a range backwards", "calendars: [{hour: [{start: 9, end: 8}]}]", "end lies before start"),
        ("the zone in wrong case", DAY + "timezone: UTC", 'unknown field "spec.timezone"'),
        ("an overlap of CronJobs", DAY + "concurrencyPolicy: Forbid", '"spec.concurrencyPolicy"'),
        ("an unknown overlap", DAY + "overlapPolicy: Forbid", '"Skip", "BufferOne", "BufferAll"'),
        ("suspended as CronJobs are", DAY + "suspend: true", 'unknown field "spec.suspend"'),
        ("nothing ever", DAY + "limitedActions: 0", "should be greater than or equal to 1"),
        ("nothing caught up", DAY + "catchUpWindow: 0s", "must be longer than zero"),
        ("one trigger twice", DAY + "triggers: [{id: a}, {id: a}]", "triggers[1]: Duplicate"),
        (
            "an end before the start",
            DAY + "startAt: '2027-03-01T00:00:00Z'\nendAt: '2027-02-01T00:00:00Z'",
            ("spec.endAt", "endAt lies before startAt", "set it later or leave it out"),
        ),
        ("a day for an instant", DAY + "startAt: '2027-03-01'", ("spec.startAt", _DATE_TIME)),
        ("no zone", DAY + "startAt: '2027-03-01T00:00:00'", ("spec.startAt", _DATE_TIME)),
        (
            "a backfill backwards",
            DAY + f"backfills: [{_BACKFILL.replace('03-01', '01-01')}]",
            ("spec.backfills[0]", "end lies before start"),
        ),
        (
            "a backfill with a name",
            DAY + f"backfills: [{_BACKFILL.replace('id: a', 'id: May_1')}]",
            ("backfills[0].id", "write an id with lower case letters, digits and - alone"),
        ),
    ),
    *_whole(
        "Schedule",
        ("no template", DAY, "spec.workflowTemplate: Required value"),
        (
            "a template without spec",
            DAY + "workflowTemplate: {type: T, workerPool: p}",
            'unknown field "spec.workflowTemplate.type"',
        ),
        (
            "a template that is canceled",
            DAY + "workflowTemplate: {spec: {type: T, workerPool: p, cancel: true}}",
            'unknown field "spec.workflowTemplate.spec.cancel"',
        ),
        (
            "one id for all runs",
            DAY + "workflowTemplate: {spec: {type: T, workerPool: p, workflowId: x}}",
            'unknown field "spec.workflowTemplate.spec.workflowId"',
        ),
        (
            "a template that runs nowhere",
            DAY + "workflowTemplate: {spec: {type: T}}",
            _ONE_PLACE,
        ),
        (
            "a label of a number",
            DAY + "workflowTemplate: {metadata: {labels: {a: 1}}, spec: {type: T, workerPool: p}}",
            _TEXT,
        ),
    ),
)

REFUSED_AT_APPLY = (*_ANYWHERE, *_WORKFLOWS, *_ACTIVITIES, *_POOLS, *_SCHEDULES)
"""The API server refuses them, whoever applies them."""
