"""Which right each request needs: the decision table, and the words of a refusal.

Runs are reviewed as if they were the custom resources: who may ``create`` workflows in a namespace
with kubectl may start runs in it, who may ``patch`` them may signal and cancel, who may ``get``
them may read. A worker needs ``create`` on the subresource ``workerpools/connect`` of its
namespace. The table is in ``docs/how-to/secure.md``, too; a test compares.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable
from typing import Any

from perdure.protocol import verbs as vb
from perdure.protocol.events import WorkflowStarted
from perdure.protocol.messages import Hello
from perdure.protocol.verbs import IdConflictPolicy
from perdure_operator.cluster import ACTIVITIES, WORKER_POOLS, WORKFLOWS, Identity, Right

CONNECT = "connect"
"""The subresource of workerpools that stands for the worker stream."""

TAKE = "take"
"""The subresource of activities that stands for running their containers: the operator's right."""

RESOURCES = {"workflow": WORKFLOWS.plural, "activity": ACTIVITIES.plural}
"""By kind of run."""

VERBS_OF_TARGETS: dict[type[vb.TargetRequest], str] = {
    vb.SignalRequest: "patch",
    vb.CancelRequest: "patch",
    vb.TerminateRequest: "patch",
    vb.SuspendRequest: "patch",
    vb.ResumeRequest: "patch",
    vb.RetryRequest: "patch",
    vb.QueryRequest: "get",
    vb.ResultRequest: "get",
    vb.DescribeRequest: "get",
    vb.HistoryRequest: "get",
}
"""What is done to one run, and the verb that it needs."""

_SERVICE_ACCOUNT = "system:serviceaccount:"
_SERVICE_ACCOUNTS = "system:serviceaccounts:"


def rights_for(request: Any, *, kind: str = "workflow") -> tuple[Right, ...]:
    """Return every right that a client's request needs.

    Args:
        request: one of :data:`perdure.protocol.verbs.VERBS`.
        kind: of the run that a request is about: ``workflow`` or ``activity``.
    """
    if isinstance(request, vb.TakeActivityRequest):
        return (
            Right(
                verb="create",
                resource=ACTIVITIES.plural,
                subresource=TAKE,
                namespace=request.namespace,
            ),
        )
    if isinstance(request, vb.TargetRequest):
        verb = VERBS_OF_TARGETS.get(type(request), "patch")
        if isinstance(request, vb.DescribeRequest) and request.settle:
            verb = "patch"
        return (_on_run(verb, kind, request.namespace, request.workflow_id),)
    rights = _TABLE.get(type(request))
    if rights is None:
        raise LookupError(f"{type(request).__name__} has no line in the table of rights")
    return rights(request)


def rights_to_work(hello: Hello) -> tuple[Right, ...]:
    """Return what a worker needs to take tasks from a queue."""
    return (
        Right(
            verb="create",
            resource=WORKER_POOLS.plural,
            subresource=CONNECT,
            namespace=hello.namespace,
            name=hello.task_queue,
        ),
    )


def is_work_at_home(identity: Identity, right: Right) -> bool:
    """Tell whether a ServiceAccount asks to run a worker in the namespace that it is of.

    Its name and its group must both say so: the API server gives them to nobody else.
    """
    home = f"{_SERVICE_ACCOUNT}{right.namespace}:"
    return (
        (right.verb, right.resource, right.subresource) == ("create", WORKER_POOLS.plural, CONNECT)
        and bool(right.namespace)
        and identity.username.startswith(home)
        and f"{_SERVICE_ACCOUNTS}{right.namespace}" in identity.groups
    )


def rights_to_scale(namespace: str, task_queue: str) -> tuple[Right, ...]:
    """Return what it takes to read how much work one queue has."""
    return (Right(verb="get", resource=WORKER_POOLS.plural, namespace=namespace, name=task_queue),)


def explain(identity: Identity, right: Right) -> str:
    """Return what is missing, and the commands by which it is granted."""
    what = f"{right.resource}.{right.group}{'/' * bool(right.subresource)}{right.subresource}"
    where = f"in namespace {right.namespace!r}" if right.namespace else "in all namespaces"
    scope = f" -n {shlex.quote(right.namespace)}" if right.namespace else ""
    role = "role" if right.namespace else "clusterrole"
    name = "-".join(filter(None, ("perdure", right.verb, right.resource, right.subresource)))
    return (
        f"{identity.username} may not {right.verb} {what} {where}. Who administers it can grant "
        f"it: kubectl create {role} {name}{scope} --verb={right.verb} --resource={what} && "
        f"kubectl create {role}binding {name}{scope} --{role}={name} {_subject(identity.username)}"
    )


def _subject(username: str) -> str:
    if username.startswith(_SERVICE_ACCOUNT):
        return f"--serviceaccount={shlex.quote(username.removeprefix(_SERVICE_ACCOUNT))}"
    return f"--user={shlex.quote(username)}"


def _on_run(verb: str, kind: str, namespace: str, name: str = "") -> Right:
    return Right(verb=verb, resource=RESOURCES[kind], namespace=namespace, name=name)


def _to_start(request: vb.StartRequest) -> tuple[Right, ...]:
    kind = request.kind if request.kind in RESOURCES else "workflow"
    rights = [_on_run("create", kind, request.namespace)]
    # It may signal, or end, a run that is there already: what it is does not matter.
    touches_existing = request.start_signal or (
        request.id_conflict_policy is IdConflictPolicy.TERMINATE_EXISTING
    )
    if touches_existing:
        kinds = RESOURCES if request.id_conflict_policy is not IdConflictPolicy.FAIL else (kind,)
        rights += [_on_run("patch", each, request.namespace) for each in kinds]
    return tuple(rights)


def _to_import(request: vb.ImportRequest) -> tuple[Right, ...]:
    first = request.events[0].event if request.events else None
    kind = first.kind if isinstance(first, WorkflowStarted) else ""
    kinds = (kind,) if kind in RESOURCES else tuple(RESOURCES)
    return tuple(_on_run("create", each, request.namespace) for each in kinds)


def _to_list(request: vb.ListRequest) -> tuple[Right, ...]:
    kinds = (request.kind,) if request.kind in RESOURCES else tuple(RESOURCES)
    return tuple(_on_run("list", kind, request.namespace) for kind in kinds)


def _to_watch(request: vb.WatchRequest) -> tuple[Right, ...]:
    return tuple(_on_run("watch", kind, request.namespace) for kind in RESOURCES)


def _to_see_queues(request: vb.QueuesRequest) -> tuple[Right, ...]:
    return (Right(verb="list", resource=WORKER_POOLS.plural, namespace=request.namespace),)


def _to_set_version(request: vb.SetCurrentVersionRequest) -> tuple[Right, ...]:
    return (Right(verb="patch", resource=WORKER_POOLS.plural, namespace=request.namespace),)


_TABLE: dict[type, Callable[[Any], tuple[Right, ...]]] = {
    vb.StartRequest: _to_start,
    vb.ImportRequest: _to_import,
    vb.ListRequest: _to_list,
    vb.WatchRequest: _to_watch,
    vb.QueuesRequest: _to_see_queues,
    vb.SetCurrentVersionRequest: _to_set_version,
    vb.ReportActivityRequest: lambda _request: (),
    vb.BeatActivityRequest: lambda _request: (),
}
"""Requests that are not about one run."""

WITH_OWN_TOKEN = frozenset({vb.ReportActivityRequest, vb.BeatActivityRequest})
"""Requests whose body has a token that is right enough: nobody asks who sends them."""
