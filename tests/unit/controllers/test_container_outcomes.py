"""What a pod's end means for the attempt that it was."""

from __future__ import annotations

from typing import Any

import pytest

from perdure.protocol.failures import ApplicationInfo
from perdure_operator.controllers.placements.outcomes import (
    Completed,
    Failed,
    Lost,
    read_outcome,
)

MAIN = "main"


def pod(
    phase: str = "Running",
    *,
    ended: dict[str, Any] | None = None,
    others: tuple[dict[str, Any], ...] = (),
    init: tuple[dict[str, Any], ...] = (),
    deleted: bool = False,
    **status: Any,
) -> dict[str, Any]:
    """Return a pod whose main container ended like this, or runs."""
    state = {"terminated": ended} if ended is not None else {"running": {}}
    metadata = {"name": "p"} | ({"deletionTimestamp": "2026-01-01T00:00:00Z"} if deleted else {})
    return {
        "metadata": metadata,
        "status": {
            "phase": phase,
            "containerStatuses": [{"name": MAIN, "state": state}, *others],
            "initContainerStatuses": list(init),
            **status,
        },
    }


def disrupted(reason: str) -> list[dict[str, str]]:
    return [{"type": "DisruptionTarget", "status": "True", "reason": reason, "message": "so"}]


def exited(code: int, message: str = "", reason: str = "Error") -> dict[str, Any]:
    return {"exitCode": code, "message": message, "reason": reason}


@pytest.mark.parametrize(
    ("said", "result"),
    [
        pytest.param("", None, id="nothing"),
        pytest.param('{"a": [1]}', {"a": [1]}, id="json"),
        pytest.param("42\n", 42, id="a-number-with-newline"),
        pytest.param("done well\n", "done well", id="text"),
        pytest.param(" \n", None, id="blank"),
    ],
)
def test_a_container_that_exits_with_0_returns_what_it_wrote(said: str, result: object) -> None:
    ended = pod("Succeeded", ended=exited(0, said, "Completed"))

    assert read_outcome(ended, MAIN) == Completed(result=result)


def test_a_result_that_was_cut_is_no_result() -> None:
    ended = pod("Succeeded", ended=exited(0, '"' + "x" * 4094 + '"'))

    outcome = read_outcome(ended, MAIN)

    assert isinstance(outcome, Failed)
    assert "report it over HTTP" in outcome.failure.message
    assert outcome.failure.info == ApplicationInfo(type="ResultTooLarge", non_retryable=True)


def test_the_more_containers_there_are_the_less_the_kubelet_keeps_of_each() -> None:
    others = tuple({"name": f"side{n}", "state": {"running": {}}} for n in range(5))
    ended = pod(ended=exited(0, "x" * 2048), others=others)

    assert isinstance(read_outcome(ended, MAIN), Failed)


@pytest.mark.parametrize(
    ("ended", "status", "message"),
    [
        pytest.param(
            exited(3, "no such photo\n"), {}, "container main exited with code 3: no such photo",
            id="its-own-words",
        ),
        pytest.param(
            exited(137, reason="OOMKilled"), {},
            "container main exited with code 137 (OOMKilled)", id="out-of-memory",
        ),
        pytest.param(
            exited(137), {"reason": "Evicted", "message": "ephemeral storage above its limit"},
            "container main exited with code 137 (Evicted): ephemeral storage above its limit",
            id="evicted-for-its-own-excess",
        ),
        pytest.param(
            exited(128, "exec: no such file", "StartError"), {},
            "container main exited with code 128 (StartError): exec: no such file",
            id="no-such-command",
        ),
        pytest.param(
            exited(143), {"reason": "DeadlineExceeded"},
            "container main exited with code 143 (DeadlineExceeded)", id="deadline",
        ),
    ],
)  # fmt: skip
def test_a_container_that_fails_says_how(
    ended: dict[str, Any], status: dict[str, Any], message: str
) -> None:
    outcome = read_outcome(pod("Failed", ended=ended, **status), MAIN)

    assert isinstance(outcome, Failed)
    assert outcome.failure.message == message
    assert outcome.failure.info == ApplicationInfo(type="ContainerFailed")


def test_only_the_named_exit_codes_end_the_retries() -> None:
    for code, non_retryable in ((3, True), (4, False)):
        outcome = read_outcome(pod("Failed", ended=exited(code)), MAIN, non_retryable=[3])
        assert isinstance(outcome, Failed)
        assert outcome.failure.info == ApplicationInfo(
            type="ContainerFailed", non_retryable=non_retryable
        )


def test_a_failing_init_container_is_named() -> None:
    fetch = {"name": "fetch", "state": {"terminated": exited(3, "404")}}
    waiting = {"metadata": {"name": "p"}, "status": {
        "phase": "Failed", "initContainerStatuses": [fetch],
        "containerStatuses": [{"name": MAIN, "state": {"waiting": {}}}],
    }}  # fmt: skip

    outcome = read_outcome(waiting, MAIN, non_retryable=[3])

    assert isinstance(outcome, Failed)
    assert outcome.failure.message == "container fetch exited with code 3: 404"
    assert outcome.failure.info == ApplicationInfo(type="ContainerFailed"), "its code is not ours"


@pytest.mark.parametrize(
    ("taken", "why"),
    [
        pytest.param(
            pod("Failed", ended=exited(143), conditions=disrupted("EvictionByEvictionAPI")),
            "EvictionByEvictionAPI: so", id="drained",
        ),
        pytest.param(
            pod("Failed", ended=exited(137), conditions=disrupted("PreemptionByScheduler")),
            "PreemptionByScheduler: so", id="preempted",
        ),
        pytest.param(
            pod("Failed", ended=exited(137), conditions=disrupted("DeletionByPodGC")),
            "DeletionByPodGC: so", id="node-gone",
        ),
        pytest.param(
            pod("Failed", ended=exited(143), reason="Terminated", message="node shut down"),
            "Terminated: node shut down", id="node-shut-down",
        ),
        pytest.param(
            pod("Failed", ended=exited(143), deleted=True), "the pod was deleted", id="deleted"
        ),
        pytest.param(
            {"metadata": {"name": "p"}, "status": {
                "phase": "Failed", "reason": "Preempting", "message": "by kubelet"}},
            "Preempting: by kubelet", id="never-ran",
        ),
    ],
)  # fmt: skip
def test_a_pod_that_was_taken_away_is_nobodys_fault(taken: dict[str, Any], why: str) -> None:
    assert read_outcome(taken, MAIN) == Lost(why=why)


def test_what_was_done_counts_though_the_pod_was_taken_away_then() -> None:
    ended = pod("Succeeded", ended=exited(0, "1"), deleted=True)

    assert read_outcome(ended, MAIN) == Completed(result=1)


def test_a_container_that_ended_need_not_wait_for_its_sidecars() -> None:
    side = {"name": "proxy", "state": {"running": {}}}

    assert read_outcome(pod(ended=exited(0, "1"), others=(side,)), MAIN) == Completed(result=1)


@pytest.mark.parametrize(
    "running",
    [
        pytest.param(pod(), id="running"),
        pytest.param(pod("Pending"), id="pending"),
        pytest.param(pod(deleted=True), id="stopping"),
        pytest.param({"metadata": {"name": "p"}}, id="not-seen-yet"),
    ],
)
def test_a_container_that_has_not_ended_has_no_outcome(running: dict[str, Any]) -> None:
    assert read_outcome(running, MAIN) is None
