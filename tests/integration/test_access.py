"""Tokens, rights and TLS over real sockets, with a reviewer that the test decides for."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from perdure import workflow
from perdure.client import Client, RPCError, RPCStatusCode, TLSConfig, TokenFile
from perdure.protocol import messages as msg
from perdure.protocol import verbs as vb
from perdure.protocol.placements import Placement
from perdure.worker import Worker, WorkerRefusedError
from perdure_operator.server import gates, streams
from perdure_operator.server.app import build_app
from perdure_operator.server.certificates import CertificateError, Certificates
from perdure_operator.server.gates import KubernetesGate
from perdure_operator.server.remembering import Keeping
from support.hosts import World
from support.pki import AUTHORITY, write_pair
from support.processes import Server
from support.reviewing import FakeReviewer, Rule

TRUST = TLSConfig(server_root_ca_cert=AUTHORITY.read_bytes())
EDIT: tuple[Rule, ...] = (("ann", "*", "*", "shop"), ("bob", "*", "*", "bank"))


@workflow.defn
class Greeting:
    @workflow.run
    async def run(self, name: str) -> str:
        return f"hello {name}"


class Place:
    """A server over TLS, and who may do what there."""

    def __init__(self, world: World, reviewer: FakeReviewer, folder: Path) -> None:
        self.world = world
        self.reviewer = reviewer
        self.certificates = Certificates(*write_pair(folder))
        self.address = ""

    async def client(self, user: str | TokenFile | None, namespace: str = "shop") -> Client:
        return await Client.connect(
            self.address, namespace=namespace, api_key=user, tls=TRUST, lazy=True
        )


@asynccontextmanager
async def a_place(folder: Path, *rules: Rule) -> AsyncIterator[Place]:
    async with World() as world:
        place = Place(world, FakeReviewer(*(rules or EDIT)), folder)
        app = build_app(world.host, KubernetesGate(place.reviewer))
        runner = web.AppRunner(app, shutdown_timeout=1)
        await runner.setup()
        context = place.certificates.context
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
        place.address = f"https://127.0.0.1:{runner.addresses[0][1]}"
        try:
            yield place
        finally:
            await runner.cleanup()


async def refusal(work: Any) -> RPCError:
    with pytest.raises(RPCError) as error:
        await work
    return error.value


async def test_a_run_goes_from_start_to_result_over_tls_with_tokens(tmp_path: Path) -> None:
    async with a_place(tmp_path) as place, await place.client("ann") as client:
        async with Worker(client, task_queue="q", workflows=[Greeting]):
            result = await client.execute_workflow(Greeting.run, "ann", id="g", task_queue="q")
        assert result == "hello ann"


async def test_without_a_token_only_the_probes_and_the_metrics_answer(tmp_path: Path) -> None:
    async with a_place(tmp_path) as place:
        async with await place.client(None) as client:
            error = await refusal(client.service.call(vb.ListRequest(namespace="shop")))
            assert (error.status, error.http_status) == (RPCStatusCode.UNAUTHENTICATED, 401)
            await client.service.probe()
        async with aiohttp.ClientSession() as session:
            for path, status in (("/readyz", 200), ("/metrics", 200), ("/api/v1/stream", 401)):
                answer = await session.get(place.address + path, ssl=TRUST.context())
                assert answer.status == status


async def test_a_namespace_is_closed_to_those_of_another(tmp_path: Path) -> None:
    target = {"namespace": "shop", "workflow_id": "order-42"}
    start = vb.StartRequest(**target, workflow_type="Order", task_queue="q")
    async with (
        a_place(tmp_path) as place,
        await place.client("ann") as ann,
        await place.client("bob") as bob,
    ):
        await ann.service.call(start)
        for request in (
            start,
            vb.SignalRequest(**target, name="go"),
            vb.TerminateRequest(**target),
            vb.DescribeRequest(**target),
            vb.HistoryRequest(**target),
            vb.ListRequest(namespace="shop"),
            vb.ListRequest(),
            vb.WatchRequest(namespace="shop"),
            vb.WatchRequest(),
            vb.QueuesRequest(),
        ):
            error = await refusal(bob.service.call(request))
            assert (error.code, error.http_status) == ("Forbidden", 403)
            assert error.status is RPCStatusCode.PERMISSION_DENIED
            assert "bob may not" in error.message
        assert (await ann.service.call(vb.ListRequest(namespace="shop"))).runs
        assert not (await bob.service.call(vb.ListRequest(namespace="bank"))).runs


async def test_a_container_needs_no_account_but_its_attempts_token(tmp_path: Path) -> None:
    target = {"namespace": "shop", "workflow_id": "scan"}
    placement = Placement(container=True, template={"image": "shop/scan:3"})
    options = vb.ActivityOptions(start_to_close_timeout=10_000, placement=placement)
    rest = {"workflow_type": "scan", "task_queue": "", "kind": "activity", "activity": options}
    rules: tuple[Rule, ...] = (
        ("ann", "create", "activities", "shop"),
        ("bob", "create", "activities/take", "shop"),
    )
    async with (
        a_place(tmp_path, *rules) as place,
        await place.client("ann") as ann,
        await place.client("bob") as operator,
        await place.client(None) as container,
    ):
        await ann.service.call(vb.StartRequest(**target, **rest))
        take = vb.TakeActivityRequest(**target, seq=1)
        for client, code in ((container, "Unauthorized"), (ann, "Forbidden")):
            assert (await refusal(client.service.call(take))).code == code
        taken = await operator.service.call(take)
        beaten = await container.service.call(vb.BeatActivityRequest(token=taken.token))
        assert not beaten.cancel_requested
        forged = vb.ReportActivityRequest(token=taken.token + "x", result=1)
        assert (await refusal(container.service.call(forged))).code == "Forbidden"
        asked = len(place.reviewer.asked)
        await container.service.call(vb.ReportActivityRequest(token=taken.token, result=1))
        assert len(place.reviewer.asked) == asked


async def test_a_watch_of_a_namespace_tells_of_no_other(tmp_path: Path) -> None:
    rest = {"workflow_type": "Order", "task_queue": "q", "watched": True}
    async with (
        a_place(tmp_path) as place,
        await place.client("ann") as ann,
        await place.client("bob") as bob,
    ):
        await ann.service.call(vb.StartRequest(namespace="shop", workflow_id="a", **rest))
        await bob.service.call(vb.StartRequest(namespace="bank", workflow_id="b", **rest))
        await ann.service.call(vb.StartRequest(namespace="shop", workflow_id="c", **rest))
        for limit in (1, 100):
            seen, cursor = [], 0
            for _ in range(3):
                request = vb.WatchRequest(namespace="bank", cursor=cursor, limit=limit, wait=50)
                answer = await bob.service.call(request)
                seen += [change.workflow_id for change in answer.changes]
                cursor = answer.cursor
            assert seen == ["b"]


async def test_a_right_on_activities_is_none_on_workflows(tmp_path: Path) -> None:
    target = {"namespace": "shop", "workflow_id": "a"}
    rest = {"workflow_type": "resize", "task_queue": "q"}
    rules: tuple[Rule, ...] = (("ann", "*", "activities", "shop"), EDIT[1])
    async with a_place(tmp_path, *rules) as place, await place.client("ann") as ann:
        start = vb.StartRequest(**target, **rest, kind="activity", activity=vb.ActivityOptions())
        await ann.service.call(start)
        await ann.service.call(vb.CancelRequest(**target))
        workflow_start = vb.StartRequest(namespace="shop", workflow_id="w", **rest)
        assert (await refusal(ann.service.call(workflow_start))).code == "Forbidden"
        absent = vb.CancelRequest(namespace="shop", workflow_id="w")
        assert (await refusal(ann.service.call(absent))).code == "Forbidden"


async def test_a_worker_of_another_namespace_is_refused_in_words(tmp_path: Path) -> None:
    async with a_place(tmp_path) as place, await place.client("bob", "shop") as client:
        with pytest.raises(WorkerRefusedError, match="bob may not create workerpools"):
            await Worker(client, task_queue="q", workflows=[Greeting]).run()


async def test_a_worker_that_loses_its_right_is_sent_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "RIGHTS_INTERVAL", 0.1)
    async with a_place(tmp_path) as place, await place.client("ann") as client:
        running = asyncio.create_task(Worker(client, task_queue="q", workflows=[Greeting]).run())
        request = vb.QueuesRequest(namespace="shop")
        while not (await client.service.call(request)).queues:
            await asyncio.sleep(0.02)
        place.reviewer.rules.clear()
        with pytest.raises(WorkerRefusedError, match="ann may not create"):
            await asyncio.wait_for(running, 15)  # what the gate remembers lasts for ten


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tokens and rights are looked at again at once, and no verdict is remembered."""
    monkeypatch.setattr(streams, "RIGHTS_INTERVAL", 0.1)
    monkeypatch.setattr(gates, "Keeping", lambda **_: Keeping(good=0, bad=0))


async def wait_for_workers(place: Place, client: Client, count: int) -> None:
    async def found() -> int:
        answer = await client.service.call(vb.QueuesRequest(namespace="shop"))
        return sum(len(queue.workers) for queue in answer.queues)

    async with asyncio.timeout(15):
        while await found() != count:
            await asyncio.sleep(0.02)


async def test_a_connection_ends_with_the_token_that_it_was_made_with(
    tmp_path: Path, quick: None
) -> None:
    async with (
        a_place(tmp_path, *EDIT, ("old", "*", "*", "shop")) as place,
        await place.client("ann") as ann,
        await place.client("old") as client,
    ):
        place.reviewer.users.add("old")
        running = asyncio.create_task(Worker(client, task_queue="q", workflows=[Greeting]).run())
        await wait_for_workers(place, ann, 1)
        place.reviewer.users.discard("old")  # expired, or its pod is gone
        await wait_for_workers(place, ann, 0)
        assert not running.done(), "it tries to come back"
        place.reviewer.users.add("old")
        await wait_for_workers(place, ann, 1)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_a_worker_whose_token_is_renewed_stays_connected(tmp_path: Path, quick: None) -> None:
    file = tmp_path / "token"
    file.write_text("first")
    async with (
        a_place(tmp_path) as place,
        await place.client("ann") as ann,
        await place.client(TokenFile(file)) as client,
    ):
        # Two tokens of one account.
        place.reviewer.aliases |= {"first": "ann", "second": "ann"}
        running = asyncio.create_task(Worker(client, task_queue="q", workflows=[Greeting]).run())
        await wait_for_workers(place, ann, 1)
        before = (await ann.service.call(vb.QueuesRequest(namespace="shop"))).queues
        shown = place.reviewer.asked.count("token second for perdure")
        file.write_text("second")
        async with asyncio.timeout(15):
            while place.reviewer.asked.count("token second for perdure") == shown:
                await asyncio.sleep(0.02)
        del place.reviewer.aliases["first"]
        await asyncio.sleep(0.5)
        assert (await ann.service.call(vb.QueuesRequest(namespace="shop"))).queues == before
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_a_connection_is_not_taken_over_with_somebody_elses_token(
    tmp_path: Path, quick: None
) -> None:
    async with a_place(tmp_path) as place, await place.client("ann") as ann:
        async with aiohttp.ClientSession() as session:
            headers = {"Authorization": "Bearer ann"}
            async with session.ws_connect(
                place.address + "/api/v1/stream", headers=headers, ssl=TRUST.context()
            ) as socket:
                hello = msg.Hello(worker_id="w", identity="w", namespace="shop", task_queue="q")
                await socket.send_bytes(msg.encode_frame([hello, msg.NewToken(token="bob")]))
                async with asyncio.timeout(15):
                    while (await socket.receive()).type is aiohttp.WSMsgType.BINARY:
                        pass
                assert socket.close_code == aiohttp.WSCloseCode.POLICY_VIOLATION
        await wait_for_workers(place, ann, 0)


async def test_a_worker_cannot_pass_for_one_of_another_namespace(tmp_path: Path) -> None:
    """Ids are the workers' own to choose: the same one in another namespace is another worker."""
    async with World() as world:
        run = await world.start(namespace="shop", kind="activity", workflow_type="charge",
                                activity=vb.ActivityOptions())  # fmt: skip
        honest = await world.worker("w1", namespace="shop")
        task = await honest.take(msg.ActivityTask)
        thief = await world.worker("w1", namespace="bank", held=(task.attempt,))
        assert (await thief.take(msg.CancelActivity)).attempt == task.attempt
        await thief.say(msg.ActivityReport(attempt=task.attempt))
        assert not (await thief.take(msg.ReportAccepted)).accepted
        await honest.say(msg.ActivityReport(attempt=task.attempt))
        assert (await honest.take(msg.ReportAccepted)).accepted
        assert (await world.names(run))[-1] == "WorkflowCompleted"


async def test_while_the_api_server_is_away_nothing_new_is_done(tmp_path: Path) -> None:
    async with a_place(tmp_path) as place, await place.client("ann") as ann:
        place.reviewer.is_away = True
        ann.service.retry_config.max_elapsed_time_millis = 0
        error = await refusal(ann.service.call(vb.ListRequest(namespace="shop")))
        assert (error.code, error.http_status) == ("Unavailable", 503)
        place.reviewer.is_away = False
        await ann.service.call(vb.ListRequest(namespace="shop"))


async def test_a_renewed_token_is_used_with_the_next_request(tmp_path: Path) -> None:
    file = tmp_path / "token"
    async with a_place(tmp_path) as place, await place.client(TokenFile(file)) as client:
        client.service.retry_config.max_elapsed_time_millis = 0
        error = await refusal(client.service.call(vb.ListRequest(namespace="shop")))
        assert "cannot be read" in error.message
        for token, is_known in (("old\n", False), ("ann\n", True)):
            file.write_text(token)
            if is_known:
                await client.service.call(vb.ListRequest(namespace="shop"))
            else:
                error = await refusal(client.service.call(vb.ListRequest(namespace="shop")))
                assert error.code == "Unauthorized"


async def test_a_server_whose_authority_is_not_trusted_gets_no_token(tmp_path: Path) -> None:
    async with a_place(tmp_path) as place:
        async with await Client.connect(place.address, api_key="ann", lazy=True) as client:
            error = await refusal(client.service.call(vb.ListRequest()))
        assert "--tls-ca" in error.message
        assert place.reviewer.asked == []


def issued_to(address: str) -> str:
    host, port = address.removeprefix("https://").split(":")
    context = TRUST.context()
    with (
        socket.create_connection((host, int(port)), timeout=5) as raw,
        context.wrap_socket(raw, server_hostname="127.0.0.1") as secured,
    ):
        return str(dict(pair[0] for pair in secured.getpeercert()["subject"])["commonName"])


async def test_a_new_certificate_is_used_at_once_and_a_broken_one_never(tmp_path: Path) -> None:
    async with a_place(tmp_path) as place:
        assert await asyncio.to_thread(issued_to, place.address) == "first"
        assert not place.certificates.reload_if_changed()

        (tmp_path / "tls.crt").write_text("half of it")
        assert not place.certificates.reload_if_changed()
        assert await asyncio.to_thread(issued_to, place.address) == "first"

        write_pair(tmp_path, "second")
        os.utime(tmp_path / "tls.crt", ns=(1, 1))
        assert place.certificates.reload_if_changed()
        assert await asyncio.to_thread(issued_to, place.address) == "second"


async def test_old_versions_of_tls_are_refused(tmp_path: Path) -> None:
    async with a_place(tmp_path) as place:
        context = TRUST.context()
        context.set_ciphers("ALL:@SECLEVEL=0")
        with pytest.warns(DeprecationWarning, match=r"TLSv1 is deprecated"):
            context.minimum_version = ssl.TLSVersion.TLSv1
        with pytest.warns(DeprecationWarning, match=r"TLSv1_1 is deprecated"):
            context.maximum_version = ssl.TLSVersion.TLSv1_1
        host, port = place.address.removeprefix("https://").split(":")
        with pytest.raises((ssl.SSLError, ConnectionResetError)):
            await asyncio.open_connection(host, int(port), ssl=context)


def test_a_certificate_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    with pytest.raises(CertificateError, match=r"missing\.crt"):
        Certificates(tmp_path / "missing.crt", tmp_path / "missing.key")


async def test_the_program_serves_tls_and_the_command_line_trusts_it(tmp_path: Path) -> None:
    certificate, key = write_pair(tmp_path)
    options = ("--tls-cert", str(certificate), "--tls-key", str(key))
    with Server(tmp_path / "perdure.db", *options, log=tmp_path / "server.log") as server:
        command = ["list", "--address", server.address, "--tls-ca", str(AUTHORITY)]
        code, _output, errors = await perdure(*command)
        assert code == 0, errors
        code, _output, errors = await perdure(*command[:3])
        assert code == 3


async def perdure(*arguments: str) -> tuple[int | None, str, str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "perdure", *arguments,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    output, errors = await process.communicate()
    return process.returncode, output.decode(), errors.decode()


@pytest.mark.parametrize(
    ("user", "status", "says"),
    [
        pytest.param("ann", 200, '"demand":0', id="may-read-this-queue"),
        pytest.param("bob", 403, "bob may not get workerpools.perdure.dev", id="another-namespace"),
        pytest.param("", 401, "Unauthorized", id="no-token"),
    ],
)
async def test_the_load_of_a_queue_is_told_to_whom_may_read_its_pool(
    tmp_path: Path, user: str, status: int, says: str
) -> None:
    rules = (("ann", "get", "workerpools", "shop"), ("bob", "get", "workerpools", "bank"))
    async with a_place(tmp_path, *rules) as place, aiohttp.ClientSession() as session:
        trust = ssl.create_default_context(cadata=AUTHORITY.read_text())
        headers = {"Authorization": f"Bearer {user}"} if user else {}
        address = f"{place.address}/api/v1/queues/shop/orders/north"
        async with session.get(address, headers=headers, ssl=trust) as answer:
            assert answer.status == status
            assert says in await answer.text()
