"""Mistakes in manifests that are accepted, with what the operator says of them.

What only a node could find out is in :data:`ON_NODES`, with the test on a real cluster that shows
it. The list of what is refused at once is :mod:`support.mistakes`.
"""

from __future__ import annotations

from support.mistakes import DAY, Mistake, manifest_text


def _said(kind: str, name: str, what: str, spec: str, reason: str, *told: str) -> Mistake:
    return Mistake(
        what=f"{kind}: {what}",
        text=manifest_text(kind, name, spec),
        told=told,
        reason=reason,
        name=name,
    )


_POD = "image: x:1\nmodules: [m]\nscaling: {min: 1, max: 1}\n"
_MEND = "mend spec.template, or the field that it names"
_BATCH = "type: greet\nworkerPool: greeters\n"
_EVERY_DAY = "workflowTemplate: {spec: {type: Hello, workerPool: greeters}}\n"
_HELLO = "type: Hello\nworkerPool: greeters\n"
_CONTAINER = "template:\n  image: busybox\n  "

SAID_IN_A_CONDITION = (
    # What a rule of a CRD cannot see.
    _said("Activity", "both", "input and items", _BATCH + "items: [[1]]\ninput: [1]",
          "InvalidSpec", "give input (one activity) or items (a batch"),
    _said("Activity", "wide", "parallelism of one", _BATCH + "parallelism: 2",
          "InvalidSpec", "parallelism is for a batch: give items with it, or leave it out"),
    _said("Activity", "lenient", "failures of one", _BATCH + "toleratedFailures: 2",
          "InvalidSpec", "toleratedFailures is for a batch"),
    _said("Activity", "pods", "a batch in pods", _BATCH + "items: [[1]]\ntemplate: {image: x}",
          "InvalidSpec", "items and template cannot be together"),
    _said("Schedule", "zone", "an unknown time zone", _EVERY_DAY + DAY + "timeZone: Berlin",
          "InvalidSpec", "spec.timeZone: there is no time zone 'Berlin'", "Europe/Berlin"),
    _said("Schedule", "offset-zone", "an offset for a zone",
          _EVERY_DAY + DAY + "timeZone: '+02:00'",
          "InvalidSpec", "spec.timeZone: there is no time zone '+02:00'"),
    _said("Schedule", "never", "a day that never comes", _EVERY_DAY + "cron: ['0 9 31 2 *']",
          "InvalidSpec", "spec.cron[0]: '0 9 31 2 *'", "(bad day-of-month)"),
    _said("Schedule", "backwards", "hours backwards", _EVERY_DAY + "cron: ['0 17-9 * * *']",
          "InvalidSpec", "spec.cron[0]: '0 17-9 * * *'", "(bad hour)"),
    _said("Schedule", "offset", "an offset too long",
          _EVERY_DAY + "intervals: [{every: 1h, offset: 2h}]",
          "InvalidSpec", "spec.intervals[0]: offset must be shorter than every"),
    _said("Schedule", "label", "a label that is none",
          DAY + "workflowTemplate: {metadata: {labels: {a b: c}}, spec: {type: T, workerPool: p}}",
          "InvalidSpec", "'a b' cannot be a key: use up to 63 letters, digits"),
    # What is somewhere else.
    _said("Workflow", "nowhere", "a pool that is not there", "type: T\nworkerPool: nobody",
          "WorkerPoolNotFound", "there is no WorkerPool 'nobody' in namespace", "apply one, or"),
    _said("Activity", "nowhere", "a pool that is not there", "type: f\nworkerPool: nobody",
          "WorkerPoolNotFound", "there is no WorkerPool 'nobody' in namespace"),
    _said("Workflow", "second", "an id that is taken", _HELLO + "workflowId: first\ninput: [you]",
          "WorkflowIdInUse", "'first' is running already", "another spec.workflowId"),
    _said("WorkerPool", "codeless", "a ConfigMap that is not there", "code: {configMap: nobody}",
          "CodeNotFound", "there is no ConfigMap 'nobody'", "create it with the Python files"),
    _said("WorkerPool", "empty", "a ConfigMap without Python", "code: {configMap: no-code}",
          "CodeNotFound", "ConfigMap 'no-code' holds no Python file", "such as orders.py"),
    # What workers find out.
    _said("Workflow", "unknown", "a type that nobody registers",
          "type: Hullo\nworkerPool: greeters",
          "TypeNotRegistered", "'Hullo' is not registered", "Hello"),
    _said("Activity", "unknown", "a type that nobody registers", "type: gret\nworkerPool: greeters",
          "TypeNotRegistered", "'gret' is not registered", "greet"),
    _said("Workflow", "number", "input of another type", _HELLO + "input: [1.0]",
          "ExecutionFailed", "InvalidInput: argument 1 (name: str) of Hello.run: expected str"),
    _said("Workflow", "little", "too little input", _HELLO,
          "ExecutionFailed", "InvalidInput: Hello.run takes 1 arguments, got 0"),
    _said("Activity", "much", "too much input", _BATCH + "input: [a, b]",
          "ExecutionFailed", "InvalidInput", "takes 1 argument (name), but was given 2"),
    # What the API server finds when a Job is made of it.
    _said("WorkerPool", "typo", "a field that pods do not have",
          _POD + "template: {spec: {nodeSelectors: {a: b}}}",
          "InvalidSpec", 'unknown field "spec.template.spec.nodeSelectors"', _MEND),
    _said("WorkerPool", "flat", "resources without limits",
          _POD + "template: {spec: {containers: [{name: worker, resources: {cpu: 1}}]}}",
          "InvalidSpec", 'containers[0].resources.cpu"', _MEND),
    _said("WorkerPool", "lots", "a quantity that is none",
          _POD + "template: {spec: {containers: [{name: worker, resources: {limits: {cpu: a}}}]}}",
          "InvalidSpec", "quantities must match", _MEND),
    _said("WorkerPool", "mount", "a mount without a volume",
          _POD + "template: {spec: {containers: [{name: worker, volumeMounts: "
          "[{name: v, mountPath: /v}]}]}}",
          "InvalidSpec", 'volumeMounts[1].name: Not found: "v"', _MEND),
    _said("Activity", "flat", "resources without limits",
          _CONTAINER + "resources: {memory: 64Mi}",
          "ExecutionFailed", 'containers[0].resources.memory"', "the template must be mended"),
    _said("Activity", "two-values", "a variable with two values",
          _CONTAINER + "env: [{name: A, value: a, valueFrom: {secretKeyRef: {name: s, key: k}}}]",
          "ExecutionFailed", "may not be specified when `value` is not empty"),
    # What the cluster refuses when the Job makes its pod.
    _said("WorkerPool", "stranger", "a ServiceAccount that is not there",
          _POD + "serviceAccountName: nobody",
          "Forbidden", "gets no pod", 'serviceaccount "nobody" not found'),
    _said("WorkerPool", "root", "more than Pod Security allows",
          _POD + "template: {spec: {hostNetwork: true}}",
          "Forbidden", "gets no pod", 'violates PodSecurity "restricted', "hostNetwork"),
    _said("Activity", "stranger", "a ServiceAccount that is not there",
          _CONTAINER + "serviceAccountName: nobody",
          "Forbidden", "gets no pod: kubectl describe job stranger-", "ServiceAccount"),
)  # fmt: skip
"""Accepted, and told by the operator."""

ON_NODES = {
    "an image that does not exist": (
        "test_an_image_that_does_not_exist_is_said_and_asks_for_one_job_only"
    ),
    "a module that does not import": (
        "test_a_worker_that_crashes_is_said_and_left_alone_longer_each_time_until_it_is_mended"
    ),
    "code that does not fit the history": (
        "test_code_that_no_longer_fits_the_history_stalls_the_run_until_it_is_mended"
    ),
}
"""What a node has to find out, by the test in ``tests/e2e`` that shows how it is said."""
