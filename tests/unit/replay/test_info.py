from __future__ import annotations

import asyncio
import contextvars
import logging
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from perdure import workflow
from perdure.protocol.payloads import RetryPolicy
from support.histories import CONVERTER, EPOCH, RunDriver, assert_replays, replay


def test_info_tells_the_facts_of_the_run() -> None:
    seen: list[workflow.Info] = []
    lengths: list[int] = []

    @workflow.defn
    class Facts:
        @workflow.run
        async def run(self) -> None:
            seen.append(workflow.info())
            lengths.append(workflow.info().get_current_history_length())
            await asyncio.sleep(1)
            lengths.append(workflow.info().get_current_history_length())

    RunDriver(
        Facts,
        start={
            "attempt": 2,
            "run_timeout": 5000,
            "retry_policy": RetryPolicy(maximum_attempts=3),
            "memo": {"who": CONVERTER.to_payload("me")},
        },
    ).play()
    [info] = seen

    assert (info.workflow_id, info.run_id, info.namespace) == ("wf", "run-1", "default")
    assert (info.workflow_type, info.task_queue, info.attempt) == ("Facts", "tests", 2)
    assert info.start_time == datetime.fromtimestamp(EPOCH / 1000, UTC)
    assert info.run_timeout == timedelta(seconds=5)
    assert info.execution_timeout is None
    assert info.task_timeout == timedelta(seconds=10)
    assert info.retry_policy is not None
    assert info.retry_policy.maximum_attempts == 3
    assert lengths == [1, 4]


def test_memo_is_decoded() -> None:
    @workflow.defn
    class Memo:
        @workflow.run
        async def run(self) -> list[Any]:
            with pytest.raises(KeyError):
                workflow.memo_value("missing")
            return [
                dict(workflow.memo()),
                workflow.memo_value("since", type_hint=timedelta) == timedelta(seconds=1),
                workflow.memo_value("missing", "default"),
                workflow.instance() is self,
                type(workflow.payload_converter()).__name__,
            ]

    memo = {"since": CONVERTER.to_payload(timedelta(seconds=1)), "n": CONVERTER.to_payload(1)}
    [values, typed, default, itself, converter] = (
        RunDriver(Memo, start={"memo": memo}).play().result
    )

    assert values["n"] == 1
    assert (typed, default, itself) == (True, "default", True)
    assert converter == "DefaultPayloadConverter"


@workflow.defn
class Talks:
    @workflow.run
    async def run(self) -> None:
        workflow.logger.info("begun %s", "well", extra={"mine": 1})
        await asyncio.sleep(1)
        workflow.logger.info("woken")


def test_the_logger_says_which_run_speaks(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    RunDriver(Talks).play()
    first, second = caplog.records

    assert first.message.startswith("begun well ({'namespace': 'default'")
    assert first.mine == 1
    assert first.perdure_workflow["workflow_id"] == "wf"
    assert first.funcName == "run"
    assert second.message.startswith("woken")


def test_the_logger_is_silent_while_replaying(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    run = RunDriver(Talks)
    run.activate()
    run.evict()
    run.advance(1).activate()

    assert [each.message.split(" ")[0] for each in caplog.records] == ["begun", "woken"]


def test_replays_can_be_logged_on_wish(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workflow.logger, "log_during_replay", True)
    monkeypatch.setattr(workflow.logger, "workflow_info_on_message", False)
    monkeypatch.setattr(workflow.logger, "workflow_info_on_extra", False)
    monkeypatch.setattr(workflow.logger, "full_workflow_info_on_extra", True)
    caplog.set_level(logging.INFO)
    replay(RunDriver(Talks).play())

    assert [each.message for each in caplog.records] == ["begun well", "woken"] * 2
    assert caplog.records[0].workflow_info.workflow_id == "wf"
    assert not hasattr(caplog.records[0], "perdure_workflow")


def test_the_logger_works_outside_too(caplog: pytest.LogCaptureFixture) -> None:
    workflow.logger.warning("hello %d", 3)

    assert caplog.messages == ["hello 3"]
    assert workflow.logger.base_logger.name == "perdure.workflow"


def test_code_can_tell_a_replay() -> None:
    seen = []

    @workflow.defn
    class Asks:
        @workflow.run
        async def run(self) -> None:
            seen.append(workflow.unsafe.is_replaying())
            with workflow.unsafe.imports_passed_through():
                await asyncio.sleep(1)

    run = RunDriver(Asks).play()
    assert_replays(run)

    assert seen[0] is False
    assert True in seen


def test_context_variables_of_the_worker_do_not_show() -> None:
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="none")
    variable.set("the worker's")

    @workflow.defn
    class Looks:
        def __init__(self) -> None:
            self.got: list[str] = []

        @workflow.run
        async def run(self) -> list[str]:
            self.got.append(variable.get())
            variable.set("run")
            await asyncio.create_task(self.look())
            return self.got

        async def look(self) -> None:
            self.got.append(variable.get())

        @workflow.signal
        def peek(self) -> None:
            self.got.append(variable.get())

    run = RunDriver(Looks).signal("peek").play()

    assert run.result == ["none", "none", "run"]
    assert variable.get() == "the worker's"
