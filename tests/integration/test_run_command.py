"""``perdure run`` on the order example: killed at random moments, and given what it cannot use."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
from contextlib import suppress
from pathlib import Path

import pytest

from perdure.client import Client
from support.order import EFFECTS, EXAMPLE, ledger_lines
from support.processes import Process, process_tree
from support.scenes import PERDURE, Scene
from support.waiting import eventually, wait_until

SEED = 42
ROUNDS = 10
SHORTLY = {"escalate_after": 0.2, "remind_after": 0.4}
VICTIMS = ("the command", "its server", "both")


def strike(process: Process, victim: str) -> bool:
    """Kill whom the round names; whether the command was still at work."""
    command, *servers = process_tree(process.pid)
    pids = {"the command": [command], "its server": servers, "both": [*servers, command]}[victim]
    was_alive = process.is_alive
    for pid in pids or [command]:  # there may be no server yet
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    process.wait()
    return was_alive


async def test_a_run_killed_at_random_moments_ends_the_same_and_charges_under_one_key(
    own_scene: Scene,
) -> None:
    ledger = own_scene.folder / "ledger.jsonl"
    own_scene.env["ORDER_LEDGER"] = str(ledger)
    chance = random.Random(SEED)
    at_once = asyncio.Semaphore(2)

    async def play(number: int, victim: str, moment: float) -> None:
        async with at_once:
            about = f"seed {SEED}, round {number}: {victim} killed after {moment:.2f} s"
            await kill_and_go_on(own_scene, f"o{number}", victim, moment, about)
        check(ledger, f"o{number}", about)

    rounds = [(n, chance.choice(VICTIMS), chance.uniform(0.3, 1.8)) for n in range(ROUNDS)]
    await asyncio.gather(*(play(*each) for each in rounds))


async def kill_and_go_on(
    scene: Scene, order_id: str, victim: str, moment: float, about: str
) -> None:
    order = json.dumps({"order_id": order_id, **SHORTLY})
    database = scene.folder / f"{order_id}.db"
    words = ("run", EXAMPLE, "--id", order_id, "--db", database, "--input", order)
    with scene.start_process(PERDURE, *words) as process:
        await asyncio.sleep(moment)
        assert strike(process, victim), f"{about}: it was over before"

    with scene.start_process(PERDURE, *words) as again:
        await answer_for_warehouse(again, order_id, about)
        printed = await asyncio.to_thread(again.output)
        assert again.wait() == 0, about
    assert json.loads(printed) == {
        "order_id": order_id,
        "payment_id": f"pay_{order_id}",
        "tracking": f"track_{order_id}",
    }, about


async def answer_for_warehouse(process: Process, order_id: str, about: str) -> None:
    """Tell the order, once the customer has been reminded, that the goods are there."""
    await eventually(
        lambda: "ActivityCompleted: remind-customer" in process.log.read_text(), what=about
    )
    async with await Client.connect(address_of(process)) as client:
        await client.get_workflow_handle(order_id).signal("warehouse_answered", True)


def check(ledger: Path, order_id: str, about: str) -> None:
    """Each effect was there, under one key."""
    calls = ledger_lines(ledger, order_id)
    assert set(calls) == set(EFFECTS), about
    for effect, entries in calls.items():
        assert len({entry["key"] for entry in entries}) == 1, (about, effect)


def address_of(process: Process) -> str:
    """Return where the server of a ``perdure run`` is, or nothing yet."""
    for line in process.log.read_text().splitlines():
        if line.startswith("server on "):
            return line.removeprefix("server on ")
    return ""


def test_a_run_whose_server_is_killed_says_how_to_go_on(own_scene: Scene) -> None:
    words = ("run", EXAMPLE, "--id", "o", "--db", own_scene.db, "--input", '{"order_id": "o"}')
    with own_scene.start_process(PERDURE, *words) as process:
        wait_until(lambda: "TimerStarted" in process.log.read_text())
        strike(process, "its server")
        assert process.wait() == 3
        assert f"Go on with: perdure run {EXAMPLE} --db {own_scene.db} --id o" in (
            process.log.read_text()
        )


TWO = """
    from perdure import workflow

    @workflow.defn
    class Hello:
        @workflow.run
        async def run(self, name: str) -> str:
            return f"hello {name}"

    @workflow.defn
    class Goodbye:
        @workflow.run
        async def run(self, name: str) -> str:
            return f"goodbye {name}"
"""


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        pytest.param(
            ("two.py:Hello", "-i", "Ada"), "--input 1 is not JSON: Expecting value", id="bad-json"
        ),
        pytest.param(
            ("two.py:Hello", "-i", "@none.json"), "(file none.json) cannot be read", id="no-file"
        ),
        pytest.param(
            ("two.py:Helo", "-i", '"Ada"'),
            "two.py has no workflow 'Helo', but: two.py:Goodbye, two.py:Hello",
            id="an-unknown-type",
        ),
        pytest.param(
            ("two.py", "-i", '"Ada"'),
            "two.py has several workflows, say which: two.py:Goodbye, two.py:Hello",
            id="several-types",
        ),
        pytest.param(("three.py",), "there is no file three.py", id="no-such-file"),
        pytest.param(
            ("two.py:Hello", "-i", '"Ada"', "--port", "99999"), "--port", id="no-such-port"
        ),
    ],
)
def test_the_run_command_says_what_it_cannot_use_and_starts_nothing(
    own_scene: Scene, words: tuple[str, ...], complaint: str
) -> None:
    own_scene.write("two.py", TWO)
    finished = own_scene.perdure("run", *words, "--db", own_scene.db)
    assert finished.code == 2
    assert complaint in finished.err
    assert "Traceback" not in finished.err
    assert finished.out == ""
    assert not own_scene.db.exists()


def test_the_run_command_says_that_its_port_is_taken(own_scene: Scene, server) -> None:
    own_scene.write("two.py", TWO)
    finished = own_scene.perdure(
        "run", "two.py:Hello", "-i", '"Ada"', "--db", own_scene.db, "--port", str(server.port)
    )
    assert finished.code == 3
    assert f"cannot listen on 127.0.0.1:{server.port}" in finished.err
