"""The log of a run, out of the logs of the pods that worked on it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from perdure.protocol import events as ev
from perdure.protocol.events import HistoryEvent
from perdure.protocol.verbs import (
    DescribeRequest,
    HistoryRequest,
    HistoryResponse,
    RunDescription,
    RunStatus,
)
from support.fake_kubectl import CONTEXT, FakeKubectl, service, services

BEGIN = 1_700_000_000_000
RUN = RunDescription(
    namespace="shop",
    workflow_id="order-42",
    run_id="0f3a",
    workflow_type="Order",
    task_queue="orders",
    status=RunStatus.COMPLETED,
    started=BEGIN,
)
HISTORY = (
    HistoryEvent(
        1, BEGIN, ev.WorkflowStarted(workflow_type="Order", task_queue="q", run_id="0f3a")
    ),
    HistoryEvent(2, BEGIN, ev.WorkflowTaskCompleted(through=1, started=BEGIN, identity="1@pool-1")),
    HistoryEvent(
        3, BEGIN, ev.ActivityStarted(seq=1, attempt=1, started=BEGIN, identity="1@pool-2")
    ),
    HistoryEvent(4, BEGIN, ev.WorkflowCompleted()),
)
ANSWERS: dict[type, Any] = {
    DescribeRequest: RUN,
    HistoryRequest: HistoryResponse(
        run_id="0f3a", workflow_type="Order", events=HISTORY, last_event=4, closed=True
    ),
}


@pytest.fixture
def kubectl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeKubectl:
    fake = FakeKubectl(tmp_path, port=4711)
    monkeypatch.setenv("PATH", fake.install())
    return fake


def knows(kubectl: FakeKubectl, **logs: dict[str, Any]) -> None:
    own = [{"metadata": {"name": "resize-1"}}] if "resize" in logs else []
    kubectl.answer(
        [
            ("config view", {"data": CONTEXT}),
            ("get services", services(service("perdure-system"))),
            ("get pods", {"data": {"items": own}}),
            *((f"logs {name.replace('_', '-')}", answer) for name, answer in logs.items()),
        ]
    )


ONE = {"says": "2026-11-23T08:00:00Z begun (order-42)\n2026-11-23T08:00:02Z of another"}
TWO = {"says": "2026-11-23T08:00:01Z charging for run 0f3a"}
GONE = {"fails": 'Error from server (NotFound): pods "pool-2" not found'}


def test_lines_that_name_the_run_are_printed_in_the_order_of_their_times(perdure, kubectl) -> None:
    knows(kubectl, pool_1=ONE, pool_2=TWO)
    told = perdure("logs", "order-42", "--context", "prod", answers=ANSWERS)
    assert told.out == "pool-1 begun (order-42)\npool-2 charging for run 0f3a\n"
    assert told.err == "1 more lines of these pods do not name the run; --all prints them\n"
    assert "--since-time=2023-11-14T22:13:20Z" in kubectl.called("logs pool-1")[0]


def test_with_all_every_line_is_printed(perdure, kubectl) -> None:
    knows(kubectl, pool_1=ONE, pool_2=TWO)
    told = perdure("logs", "order-42", "--context", "prod", "--all", answers=ANSWERS)
    assert told.out.splitlines()[-1] == "pool-1 of another"
    assert told.err == ""


def test_every_line_of_a_pod_of_the_runs_own_belongs_to_it(perdure, kubectl) -> None:
    own = {"says": "2026-11-23T08:00:09Z 640x480"}
    knows(kubectl, pool_1=ONE, pool_2=TWO, resize=own)
    told = perdure("logs", "order-42", "--context", "prod", answers=ANSWERS)
    assert told.out.splitlines()[-1] == "resize-1 640x480"


def test_pods_that_are_gone_are_named(perdure, kubectl) -> None:
    knows(kubectl, pool_1=ONE, pool_2=GONE)
    told = perdure("logs", "order-42", "--context", "prod", answers=ANSWERS)
    assert told.out == "pool-1 begun (order-42)\n"
    assert "these pods are gone, and their logs with them: pool-2" in told.err


def test_no_right_to_read_logs_is_said(perdure, kubectl) -> None:
    knows(kubectl, pool_1={"fails": 'User "ann" cannot get resource "pods/log"'}, pool_2=TWO)
    told = perdure("logs", "order-42", "--context", "prod", answers=ANSWERS)
    assert told.code == 4
    assert "pods/log" in told.err


def test_following_prints_lines_to_the_end_of_the_run(perdure, kubectl, monkeypatch) -> None:
    monkeypatch.setattr("perdure.cli.podlogs._LOOK_AGAIN", 0.01)
    knows(kubectl, pool_1=ONE, pool_2=TWO)
    told = perdure("logs", "order-42", "-f", "--context", "prod", answers=ANSWERS)
    assert set(told.out.splitlines()) == {
        "pool-1 begun (order-42)",
        "pool-2 charging for run 0f3a",
    }
    assert len(told.out.splitlines()) == 2


def test_without_a_cluster_there_are_no_pods_to_read(perdure) -> None:
    told = perdure("logs", "order-42", answers=ANSWERS)
    assert told.code == 2
    assert "kubectl perdure logs" in told.err
