"""Containers and pods of their own, as workflow code asks for them and hears of them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, cast

import pytest

from perdure import activity, workflow
from perdure.common import Pod, RetryPolicy
from perdure.exceptions import ActivityError, ApplicationError, UsageError
from perdure.protocol.commands import ScheduleActivity
from perdure.protocol.payloads import Payload
from perdure.protocol.placements import Placement
from perdure.workflow import ActivityCancellationType as Cancellation
from perdure.workflow._containers import image_name
from support.histories import RunDriver, assert_replays

LIMIT = timedelta(seconds=30)


@dataclass
class Size:
    width: int


@activity.defn
def train(steps: int) -> int:
    return steps


def one(call: Callable[[], Any]) -> type:
    """A workflow that does nothing but await one call."""

    @workflow.defn(name="One", failure_exception_types=[UsageError, TypeError])
    class One:
        @workflow.run
        async def run(self) -> Any:
            return await call()

    return One


def asked(call: Callable[[], Any]) -> ScheduleActivity:
    run = RunDriver(one(call))
    run.activate()
    return run.activities[1]


def test_a_container_is_asked_for_with_all_that_it_needs() -> None:
    command = asked(
        lambda: workflow.execute_container(
            "registry.example/media/ffmpeg:6",
            command=["ffmpeg"],
            args=["-i", "$(PERDURE_INPUT)"],
            input=["s3://in", {"width": 64}],
            env={"LEVEL": "debug"},
            resources={"limits": {"cpu": "2"}},
            service_account="media",
            non_retryable_exit_codes=(3, 4),
            start_to_close_timeout=LIMIT,
            heartbeat_timeout=timedelta(seconds=5),
            retry_policy=RetryPolicy(maximum_attempts=2),
            summary="thumbnail",
        )
    )

    assert (command.activity_type, command.summary) == ("ffmpeg", "thumbnail")
    assert (command.start_to_close_timeout, command.heartbeat_timeout) == (30_000, 5000)
    assert command.retry_policy.maximum_attempts == 2
    assert [each.data for each in command.input] == [b'"s3://in"', b'{"width":64}']
    assert command.placement == Placement(
        container=True,
        template={
            "image": "registry.example/media/ffmpeg:6",
            "command": ["ffmpeg"],
            "args": ["-i", "$(PERDURE_INPUT)"],
            "env": [{"name": "LEVEL", "value": "debug"}],
            "resources": {"limits": {"cpu": "2"}},
            "serviceAccountName": "media",
            "nonRetryableExitCodes": [3, 4],
        },
    )


def test_an_activity_with_its_own_pod_is_that_activity_elsewhere() -> None:
    pod = Pod(image="trainer:2", resources={"limits": {"nvidia.com/gpu": 1}})
    command = asked(
        lambda: workflow.execute_activity(train, 10, start_to_close_timeout=LIMIT, pod=pod)
    )

    assert command.activity_type == "train"
    assert command.placement == Placement(template=pod.to_template())


def test_an_activity_without_a_pod_has_no_placement() -> None:
    command = asked(
        lambda: workflow.execute_activity(train, 10, start_to_close_timeout=LIMIT, pod=None)
    )

    assert command.placement is None


@pytest.mark.parametrize(
    ("image", "name"),
    [
        ("busybox", "busybox"),
        ("busybox:1.36", "busybox"),
        ("registry.example:5000/media/ffmpeg:6", "ffmpeg"),
        ("registry.example/ffmpeg@sha256:00ff", "ffmpeg"),
        ("registry.example:5000/ffmpeg", "ffmpeg"),
        ("a/b:1@sha256:00ff", "b"),
        (":1", ":1"),
    ],
)
def test_a_container_is_called_what_its_image_is_called(image: str, name: str) -> None:
    assert image_name(image) == name


def test_its_result_is_what_it_is_to_be_decoded_as() -> None:
    @workflow.defn
    class Measures:
        @workflow.run
        async def run(self) -> list[Any]:
            sized = workflow.start_container("size", result_type=Size, start_to_close_timeout=LIMIT)
            plain = workflow.start_container("size", start_to_close_timeout=LIMIT)
            size, anything = await asyncio.gather(sized, plain)
            return [isinstance(size, Size), anything]

    run = RunDriver(Measures)
    run.activate()
    run.complete_activity(1, {"width": 64}).complete_activity(2, {"width": 32}).play()

    assert run.result == [True, {"width": 32}]
    assert_replays(run)


def test_a_container_that_fails_raises_like_an_activity() -> None:
    @workflow.defn
    class Fails:
        @workflow.run
        async def run(self) -> list[Any]:
            try:
                await workflow.execute_container("scan", start_to_close_timeout=LIMIT)
            except ActivityError as error:
                cause = cast("ApplicationError", error.cause)
                return [error.activity_type, cause.type, cause.message]
            return []

    run = RunDriver(Fails)
    run.activate()
    run.fail_activity(1, ApplicationError("exit code 3", type="ContainerFailed")).play()

    assert run.result == ["scan", "ContainerFailed", "exit code 3"]
    assert_replays(run)


def test_cancelling_its_handle_asks_it_to_stop() -> None:
    @workflow.defn
    class Stops:
        @workflow.run
        async def run(self) -> bool:
            handle = workflow.start_container(
                "train",
                start_to_close_timeout=LIMIT,
                cancellation_type=Cancellation.WAIT_CANCELLATION_COMPLETED,
            )
            await asyncio.sleep(1)
            handle.cancel()
            await asyncio.wait([handle])
            return handle.exception() is not None

    run = RunDriver(Stops)
    run.activate()
    run.advance(1).activate()
    assert "ActivityCancelRequested" in run.kinds()
    run.finish_cancelled_activity(1).play()
    assert run.result is True
    assert_replays(run)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        pytest.param(
            lambda: workflow.execute_container("", start_to_close_timeout=LIMIT),
            "needs an image",
            id="no-image",
        ),
        pytest.param(
            lambda: workflow.execute_container("busybox"),
            "needs start_to_close_timeout",
            id="no-timeout",
        ),
        pytest.param(
            lambda: workflow.execute_container(
                "busybox", input="cat.png", start_to_close_timeout=LIMIT
            ),
            "give a list of arguments",
            id="input-is-no-list",
        ),
        pytest.param(
            lambda: workflow.execute_container(
                "busybox",
                input=[b"\x00"],
                start_to_close_timeout=LIMIT,
            ),
            "becomes binary/plain, and a container reads JSON",
            id="bytes",
        ),
        pytest.param(
            lambda: workflow.execute_container(
                "busybox",
                command="echo hello",
                start_to_close_timeout=LIMIT,  # type: ignore[arg-type]  # the mistake
            ),
            "give a list of strings",
            id="command-is-one-string",
        ),
        pytest.param(
            lambda: workflow.execute_container(
                "busybox", non_retryable_exit_codes=[0], start_to_close_timeout=LIMIT
            ),
            "give numbers from 1 to 255",
            id="exit-code-of-success",
        ),
        pytest.param(
            lambda: workflow.execute_container(
                "busybox",
                imgae="x",
                start_to_close_timeout=LIMIT,  # type: ignore[call-arg]  # the mistake
            ),
            "unknown option 'imgae' of a container",
            id="unknown-option",
        ),
    ],
)
def test_a_container_that_cannot_be_is_refused_with_words(
    call: Callable[[], Any], words: str
) -> None:
    run = RunDriver(one(call)).play()

    failure = run.failure
    assert words in failure.message


def test_nothing_is_input_as_well() -> None:
    command = asked(
        lambda: workflow.execute_container("busybox", input=[None], start_to_close_timeout=LIMIT)
    )

    assert command.input == (Payload(metadata={"encoding": b"binary/null"}),)
