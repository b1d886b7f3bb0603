"""Which request needs which right, and what a refusal says."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from perdure.protocol import verbs as vb
from perdure.protocol.events import HistoryEvent, WorkflowStarted
from perdure.protocol.messages import Hello
from perdure.protocol.verbs import IdConflictPolicy
from perdure_operator.cluster import Identity, Right
from perdure_operator.server.rights import (
    WITH_OWN_TOKEN,
    explain,
    rights_for,
    rights_to_scale,
    rights_to_work,
)

TARGET: dict[str, Any] = {"namespace": "shop", "workflow_id": "order-42"}
START: dict[str, Any] = {**TARGET, "workflow_type": "Order", "task_queue": "q"}


def spell(rights: tuple[Right, ...]) -> list[str]:
    return [
        f"{right.verb} {right.resource}{'/' * bool(right.subresource)}{right.subresource} "
        f"{right.namespace or '*'}:{right.name or '*'}"
        for right in rights
    ]


IMPORTED = {**TARGET, "run_id": "run-1"}
STARTED = WorkflowStarted(workflow_type="Order", task_queue="q", run_id="run-1")

TABLE: list[tuple[vb._Verb, list[str]]] = [
    (vb.StartRequest(**START), ["create workflows shop:*"]),
    (vb.StartRequest(**START, kind="activity"), ["create activities shop:*"]),
    (
        vb.StartRequest(**START, start_signal="go"),
        ["create workflows shop:*", "patch workflows shop:*"],
    ),
    (
        vb.StartRequest(**START, id_conflict_policy=IdConflictPolicy.TERMINATE_EXISTING),
        ["create workflows shop:*", "patch workflows shop:*", "patch activities shop:*"],
    ),
    (
        vb.ImportRequest(**IMPORTED, events=(HistoryEvent(1, 0, STARTED),)),
        ["create workflows shop:*"],
    ),
    (
        vb.ImportRequest(**IMPORTED, events=()),
        ["create workflows shop:*", "create activities shop:*"],
    ),
    (vb.SignalRequest(**TARGET, name="go"), ["patch workflows shop:order-42"]),
    (vb.CancelRequest(**TARGET), ["patch workflows shop:order-42"]),
    (vb.TerminateRequest(**TARGET), ["patch workflows shop:order-42"]),
    (vb.SuspendRequest(**TARGET), ["patch workflows shop:order-42"]),
    (vb.ResumeRequest(**TARGET), ["patch workflows shop:order-42"]),
    (vb.RetryRequest(**TARGET), ["patch workflows shop:order-42"]),
    (vb.QueryRequest(**TARGET, name="state"), ["get workflows shop:order-42"]),
    (vb.ResultRequest(**TARGET), ["get workflows shop:order-42"]),
    (vb.DescribeRequest(**TARGET), ["get workflows shop:order-42"]),
    (vb.DescribeRequest(**TARGET, settle=True), ["patch workflows shop:order-42"]),
    (vb.TakeActivityRequest(**TARGET, seq=1), ["create activities/take shop:*"]),
    (vb.ReportActivityRequest(token="t"), []),
    (vb.BeatActivityRequest(token="t"), []),
    (vb.HistoryRequest(**TARGET), ["get workflows shop:order-42"]),
    (vb.ListRequest(namespace="shop", kind="workflow"), ["list workflows shop:*"]),
    (vb.ListRequest(namespace="shop"), ["list workflows shop:*", "list activities shop:*"]),
    (vb.ListRequest(), ["list workflows *:*", "list activities *:*"]),
    (vb.WatchRequest(namespace="shop"), ["watch workflows shop:*", "watch activities shop:*"]),
    (vb.WatchRequest(), ["watch workflows *:*", "watch activities *:*"]),
    (vb.QueuesRequest(namespace="shop"), ["list workerpools shop:*"]),
    (vb.QueuesRequest(), ["list workerpools *:*"]),
    (
        vb.SetCurrentVersionRequest(namespace="shop", task_queue="orders", build_id="v2"),
        ["patch workerpools shop:*"],
    ),
]


@pytest.mark.parametrize(
    ("request_", "rights"), TABLE, ids=[f"{type(r).__name__}-{n}" for n, (r, _) in enumerate(TABLE)]
)
def test_each_request_needs_what_the_table_says(request_: Any, rights: list[str]) -> None:
    assert spell(rights_for(request_)) == rights


def test_no_verb_is_without_a_line_in_the_table() -> None:
    """Whoever adds a verb says here which right it needs; until then the server refuses it."""
    assert {type(request) for request, _ in TABLE} >= set(vb.VERBS)


def test_what_is_asked_of_an_activity_is_reviewed_as_an_activity() -> None:
    assert spell(rights_for(vb.CancelRequest(**TARGET), kind="activity")) == [
        "patch activities shop:order-42"
    ]


def test_a_worker_needs_to_connect_in_its_namespace() -> None:
    hello = Hello(worker_id="w", identity="w@h", namespace="shop", task_queue="orders")
    assert spell(rights_to_work(hello)) == ["create workerpools/connect shop:orders"]


def test_a_scaler_needs_to_read_the_queue_as_if_it_were_a_pool_of_its_name() -> None:
    assert spell(rights_to_scale("shop", "orders")) == ["get workerpools shop:orders"]


@pytest.mark.parametrize(
    ("user", "subject"),
    [
        pytest.param("system:serviceaccount:shop:till", "--serviceaccount=shop:till", id="account"),
        pytest.param("ann@example.com", "--user=ann@example.com", id="person"),
        pytest.param("a; rm -rf", "--user='a; rm -rf'", id="hostile-name"),
    ],
)
def test_a_refusal_says_what_is_missing_and_how_to_grant_it(user: str, subject: str) -> None:
    right = Right(
        verb="create", resource="workerpools", subresource="connect", namespace="shop", name="q"
    )

    words = explain(Identity(username=user), right)

    assert f"{user} may not create workerpools.perdure.dev/connect in namespace 'shop'" in words
    role = "kubectl create role perdure-create-workerpools-connect -n shop --verb=create"
    assert f"{role} --resource=workerpools.perdure.dev/connect" in words
    assert words.endswith(subject)


def test_a_right_in_all_namespaces_is_granted_by_a_cluster_role() -> None:
    words = explain(
        Identity(username="ann"), Right(verb="list", resource="workflows", namespace="")
    )

    assert "in all namespaces" in words
    assert "kubectl create clusterrole perdure-list-workflows --verb=list" in words
    assert "kubectl create clusterrolebinding" in words


def documented() -> dict[str, set[str]]:
    """Return the verbs that the page's table names, by verb of the server."""
    page = Path(__file__).parents[3] / "docs" / "how-to" / "secure.md"
    found: dict[str, set[str]] = {}
    for line in page.read_text().splitlines():
        cells = [re.findall(r"`([^`]+)`", cell) for cell in line.split("|")]
        if len(cells) == 5 and cells[1] and cells[2]:
            for name in cells[1]:
                found.setdefault(name, set()).update(cells[2])
    return found


def test_the_page_on_security_has_the_same_table() -> None:
    expected: dict[str, set[str]] = {}
    for request, _ in TABLE:
        name, _answer = vb.VERBS[type(request)]
        if type(request) in WITH_OWN_TOKEN:
            continue  # The page says so below the table.
        expected.setdefault(name, set()).update(right.verb for right in rights_for(request))
    assert documented() == expected
