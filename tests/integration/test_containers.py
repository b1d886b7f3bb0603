"""Containers and pods of their own on real processes: what an operator and a container say.

The container's side is plain HTTP with a JSON body, as curl sends it: no client of ours.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import subprocess
import urllib.error
import urllib.request
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from perdure.client import Client, RPCError, WorkflowHandle
from perdure.protocol import events as ev
from perdure.protocol import verbs as vb
from perdure.protocol.failures import ApplicationInfo, Failure
from perdure.protocol.placements import Placement
from perdure.protocol.verbs import RunStatus
from support import placed
from support.processes import ROOT
from support.scenes import PERDURE, Scene, events_of, lines_of, names_of
from support.waiting import eventually

CODE = Path(placed.__file__)
QUEUE = "default"


class Container:
    """A program with a token and curl."""

    def __init__(self, address: str, token: str) -> None:
        self._address = address
        self._token = token

    async def say(self, verb: str, **fields: Any) -> tuple[int, dict[str, Any]]:
        """Send a request; return the status and the body of the answer."""
        body = json.dumps({"token": self._token, **fields}).encode()
        return await asyncio.to_thread(self._post, verb, body)

    def _post(self, verb: str, body: bytes) -> tuple[int, dict[str, Any]]:
        request = urllib.request.Request(
            f"http://{self._address}/api/v1/{verb}",
            data=body,
            headers={"Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.load(error)


class Operator:
    """What an operator asks of the server for one run."""

    def __init__(self, client: Client, workflow_id: str, address: str) -> None:
        self._client = client
        self._target = {"namespace": client.namespace, "workflow_id": workflow_id}
        self._address = address

    async def pending(self) -> vb.PendingActivity | None:
        """Return the activity that the run waits for."""
        described = await self._client.service.call(vb.DescribeRequest(**self._target))
        return next(iter(described.pending_activities), None)

    async def take(self) -> tuple[vb.TakeActivityResponse, Container]:
        """Take the next attempt as soon as it may begin."""
        request = vb.TakeActivityRequest(**self._target, seq=1, identity="pod/scan")
        async with asyncio.timeout(20):
            while not (await self.pending()):
                await asyncio.sleep(0.02)
            while not (taken := await self._client.service.call(request)).attempt:
                await asyncio.sleep(0.02)
        return taken, Container(self._address, taken.token)

    async def report(self, token: str, **outcome: Any) -> None:
        """Say how an attempt ended."""
        await self._client.service.call(vb.ReportActivityRequest(token=token, **outcome))


@pytest.fixture
async def client(scene: Scene) -> AsyncIterator[Client]:
    """A client where a worker has the code of ``support/placed.py``."""
    scene.start_worker(CODE)
    async with scene.client() as client:
        yield client


async def start(
    client: Client, address: str, workflow: str, *args: Any
) -> tuple[WorkflowHandle[Any, Any], Operator]:
    handle = await client.start_workflow(workflow, args=args, id="scan", task_queue=QUEUE)
    return handle, Operator(client, "scan", address)


async def test_a_container_gets_its_input_and_its_result_reaches_the_code(
    client: Client, scene: Scene
) -> None:
    handle, operator = await start(client, scene.address, "Contain", {"input": ["a.png", 3]})
    taken, container = await operator.take()
    assert [json.loads(each.data) for each in taken.input] == ["a.png", 3]
    assert taken.placement is not None
    assert taken.placement.template == {"image": "shop/scan:3"}

    assert await container.say("report-activity", result={"found": ["cat"]}) == (200, {})

    assert await handle.result() == {"found": ["cat"]}
    shown = await scene.perdure_async("show", "scan")
    assert "ActivityScheduled: scan, container of shop/scan:3" in shown.out


async def test_a_result_may_be_a_mebibyte(client: Client, scene: Scene) -> None:
    handle, operator = await start(client, scene.address, "Contain", {})
    _, container = await operator.take()
    large = "x" * 2**20
    assert (await container.say("report-activity", result=large))[0] == 200
    assert await handle.result() == large


async def test_a_result_beyond_all_bounds_is_refused_and_may_be_said_otherwise(
    client: Client, scene: Scene
) -> None:
    handle, operator = await start(client, scene.address, "Contain", {})
    _, container = await operator.take()
    status, answer = await container.say("report-activity", result="x" * 5 * 2**20)
    assert (status, answer["code"]) == (413, "TooLarge")
    assert (await container.say("report-activity", result="s3://large"))[0] == 200
    assert await handle.result() == "s3://large"


async def test_a_failure_needs_no_more_than_a_message(client: Client, scene: Scene) -> None:
    handle, operator = await start(client, scene.address, "Contain", {})
    for number in (1, 2):
        taken, container = await operator.take()
        assert taken.attempt == number
        await container.say("report-activity", failure={"message": "no such bucket"})
    taken, container = await operator.take()
    info = {"kind": "application", "type": "NoBucket", "non_retryable": True}
    await container.say("report-activity", failure={"message": "no such bucket", "info": info})
    assert await handle.result() == "failed: NoBucket: no such bucket"


async def test_details_of_a_beat_are_there_for_the_next_attempt(
    client: Client, scene: Scene
) -> None:
    _, operator = await start(client, scene.address, "Contain", {})
    taken, container = await operator.take()
    assert await container.say("beat-activity", details=[{"done": 7}]) == (200, {})
    await operator.report(taken.token, lost="its node is gone")
    again, _ = await operator.take()
    assert (again.attempt, again.heartbeat_details[0].data) == (2, b'{"done":7}')


async def test_a_beat_says_when_to_stop(client: Client, scene: Scene) -> None:
    handle, operator = await start(client, scene.address, "ContainUntilTold")
    _, container = await operator.take()
    assert await container.say("beat-activity") == (200, {})
    await handle.signal("stop")

    async def is_told() -> bool:
        return await container.say("beat-activity") == (200, {"cancel_requested": True})

    await eventually(is_told)
    await container.say("report-activity", failure={"info": {"kind": "canceled"}})
    assert await handle.result() == "CancelledError"


async def test_what_a_container_says_wrongly_is_refused_with_words(
    client: Client, scene: Scene
) -> None:
    handle, operator = await start(client, scene.address, "Contain", {})
    taken, container = await operator.take()
    forged = Container(scene.address, taken.token[:-1])
    status, answer = await forged.say("report-activity", result=1)
    assert (status, answer["code"]) == (403, "Forbidden")
    status, answer = await container.say("report-activity", failure="no such bucket")
    assert (status, answer["code"]) == (400, "Invalid")
    assert "failure" in answer["message"]
    assert (await container.say("report-activity", result=1))[0] == 200
    status, answer = await container.say("report-activity", result=2)
    assert (status, answer["code"]) == (409, "AlreadyClosed")
    status, answer = await container.say("beat-activity")
    assert (status, answer["code"]) == (409, "AlreadyClosed")
    assert await handle.result() == 1


async def test_a_container_that_falls_silent_is_tried_again(client: Client, scene: Scene) -> None:
    handle, operator = await start(client, scene.address, "Contain", {"heartbeat": 0.3})
    _, silent = await operator.take()
    taken, container = await operator.take()
    while taken.attempt == 1:
        await asyncio.sleep(0.05)
        taken, container = await operator.take()
    assert (await silent.say("report-activity", result="late"))[0] == 409
    assert (await container.say("report-activity", result="in time"))[0] == 200
    assert await handle.result() == "in time"


async def test_a_server_that_is_killed_loses_no_attempt_that_was_taken(own_scene: Scene) -> None:
    options = ("--lease", "1", "--grace", "0.2")
    own_scene.start_server(*options)
    own_scene.start_worker(CODE)
    async with own_scene.client() as client:
        handle, operator = await start(client, own_scene.address, "Contain", {})
        taken, container = await operator.take()
        own_scene.server.kill()
        own_scene.restart_server(*options)
        # Longer than any session that was there before would be waited for.
        await asyncio.sleep(2)
        again, _ = await operator.take()
        assert (again.attempt, again.token) == (1, taken.token)
        own_scene.server.kill()
        own_scene.restart_server(*options)
        assert await container.say("report-activity", result="once") == (200, {})
        assert await handle.result() == "once"
        events = await events_of(handle)
        assert [each.attempt for each in events if isinstance(each, ev.ActivityStarted)] == [1]
        assert (await names_of(handle)).count("ActivityCompleted") == 1


async def test_a_taken_attempt_can_be_watched_by_whoever_started_nothing(
    client: Client, scene: Scene
) -> None:
    handle, operator = await start(client, scene.address, "Contain", {})
    taken, _ = await operator.take()
    watch = vb.WatchRequest(namespace=client.namespace, wait=2000)
    told = await client.service.call(watch)
    assert [each.workflow_id for each in told.changes] == ["scan"]
    await operator.report(taken.token, result=1)
    await handle.result()
    after = await client.service.call(
        vb.WatchRequest(namespace=client.namespace, cursor=told.cursor, wait=2000)
    )
    assert [each.workflow_id for each in after.changes] == ["scan"]


async def test_its_own_worker_takes_one_attempt_and_leaves(client: Client, scene: Scene) -> None:
    notes = scene.folder / "notes"
    handle, operator = await start(client, scene.address, "NoteInOwnPod", str(notes), 2)

    async def is_scheduled() -> bool:
        return (await operator.pending()) is not None

    await eventually(is_scheduled)
    pending = await operator.pending()
    assert pending is not None
    assert pending.own_queue == f"pod/{handle.result_run_id}/1"
    assert lines_of(notes) == []
    for attempt in (1, 2):
        pod = scene.start_worker(
            CODE, options=("--task-queue", pending.own_queue, "--once", "--idle-after", "20s")
        )
        assert await asyncio.to_thread(pod.wait) == 0
        assert lines_of(notes) == [str(each) for each in range(1, attempt + 1)]
    assert await handle.result() == 2


async def test_a_pod_that_does_not_come_up_is_said_by_its_maker(
    client: Client, scene: Scene
) -> None:
    handle, operator = await start(client, scene.address, "NoteInOwnPod", "/dev/null", 1)
    taken, _ = await operator.take()
    info = ApplicationInfo(type="PodFailed", non_retryable=True)
    await operator.report(taken.token, failure=Failure(message="no such image", info=info))
    with pytest.raises(Exception, match="Workflow execution failed") as error:
        await handle.result()
    assert "no such image" in str(error.value.__cause__.__cause__)


async def test_an_activity_that_there_never_was_cannot_be_taken(
    client: Client, scene: Scene
) -> None:
    _, operator = await start(client, scene.address, "Contain", {})
    await operator.take()
    request = vb.TakeActivityRequest(namespace=client.namespace, workflow_id="scan", seq=7)
    with pytest.raises(RPCError, match="has no activity 7"):
        await client.service.call(request)


@pytest.mark.skipif(shutil.which("curl") is None, reason="no curl on this machine")
async def test_the_shell_of_the_how_to_beats_and_stops_when_it_is_told_to(scene: Scene) -> None:
    page = ROOT / "docs" / "how-to" / "run-any-container.md"
    [shell, *_] = re.findall(r"(?ms)^```sh\n(.*?)^```", page.read_text())
    container = vb.ActivityOptions(
        start_to_close_timeout=60_000,
        placement=Placement(container=True, template={"image": "shop/scan:3"}),
    )
    target = {"namespace": scene.namespace, "workflow_id": "scan"}
    start = {"workflow_type": "scan", "task_queue": "", "kind": "activity", "activity": container}
    async with scene.client() as client:
        await client.service.call(vb.StartRequest(**target, **start))
        taken, _ = await Operator(client, "scan", scene.address).take()
        env = {
            **os.environ,
            "PERDURE_ADDRESS": f"http://{scene.address}",
            "PERDURE_TASK_TOKEN": taken.token,
        }

        def play() -> str:
            command = ["sh", "-c", f"{shell}\necho went on"]
            return subprocess.run(
                command, env=env, capture_output=True, text=True, check=True
            ).stdout

        assert "went on" in await asyncio.to_thread(play)
        described = await client.service.call(vb.DescribeRequest(**target))
        assert described.pending_activities[0].heartbeat_details[0].data == b"4711"
        await client.service.call(vb.CancelRequest(**target))
        assert "went on" not in await asyncio.to_thread(play)
        result = await client.service.call(vb.ResultRequest(**target))
        assert result.status is RunStatus.CANCELED


# --- without a cluster -------------------------------------------------------------------------


async def test_perdure_run_runs_what_is_to_have_its_own_pod_in_its_worker(
    own_scene: Scene,
) -> None:
    notes = own_scene.folder / "notes"
    done = await own_scene.perdure_async(
        "run", f"{CODE}:NoteInOwnPod", "--input", json.dumps(str(notes)), "--input", "1"
    )
    assert (done.code, done.out.splitlines()[-1]) == (0, "1"), done.err
    assert lines_of(notes) == ["1"]


async def test_perdure_run_says_that_a_container_waits_for_an_operator(own_scene: Scene) -> None:
    run = own_scene.start_process(
        PERDURE, "run", f"{CODE}:Contain", "--input", "{}", "--db", own_scene.folder / "db"
    )
    words = "scan: waits for an operator to run its container; this server has none"
    await eventually(lambda: words in run.log.read_text())
