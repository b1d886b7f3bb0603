from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from perdure import workflow
from perdure.workflow import _runtime


@pytest.mark.parametrize(
    "ask",
    [
        workflow.now,
        workflow.time,
        workflow.time_ns,
        workflow.random,
        workflow.uuid4,
        workflow.info,
        workflow.memo,
        workflow.instance,
        workflow.cancellation_reason,
        workflow.all_handlers_finished,
        workflow.payload_converter,
        workflow.unsafe.is_replaying,
        lambda: workflow.sleep(1).send(None),
        lambda: workflow.step(print).send(None),
        lambda: workflow.wait_condition(bool).send(None),
        lambda: workflow.set_signal_handler("x", None),
    ],
    ids=lambda ask: ask.__name__,
)
def test_nothing_can_be_asked_outside_of_workflow_code(ask: Callable[[], Any]) -> None:
    assert not workflow.in_workflow()

    with pytest.raises(workflow.NotInWorkflowError, match="not in workflow code"):
        ask()


def test_an_ordinary_loop_is_no_workflow() -> None:
    async def look() -> bool:
        return workflow.in_workflow() or _runtime.current_or_none() is not None

    loop = asyncio.new_event_loop()
    assert loop.run_until_complete(look()) is False
    loop.close()


def test_a_handler_must_be_callable() -> None:
    with pytest.raises(TypeError, match="must be callable"):
        workflow.set_signal_handler("x", 3)  # type: ignore[arg-type]
