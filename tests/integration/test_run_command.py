"""``perdure run`` on the order example: killed at random moments, and given what it cannot use."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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
    example = own_scene.write("order.py", slow(EXAMPLE.read_text()))
    chance = random.Random(SEED)
    at_once = asyncio.Semaphore(2)

    async def play(kill: Kill) -> None:
        async with at_once:
            await kill_and_go_on(own_scene, example, kill)
        check(ledger, kill)

    await asyncio.gather(*(play(random_kill(number, chance)) for number in range(ROUNDS)))


@dataclass(frozen=True)
class Kill:
    """One round: whom to kill when. A moment is a time, or when an effect has happened."""

    order_id: str
    victim: str
    moment: float | str

    def __str__(self) -> str:
        when = f"{self.moment:.2f} s" if isinstance(self.moment, float) else self.moment
        return f"seed {SEED}, {self.order_id}: {self.victim} killed after {when}"


def random_kill(number: int, chance: random.Random) -> Kill:
    """Return a round; every other one strikes between an effect and its recording."""
    moment = chance.choice(("charge", "escalate", "remind"))
    return Kill(
        order_id=f"o{number}",
        victim=chance.choice(VICTIMS),
        moment=moment if number % 2 else chance.uniform(0.3, 2.0),
    )


def slow(code: str) -> str:
    """Return the example with a pause behind each effect, in which it can be killed."""
    effect = "os.fsync(ledger.fileno())"
    assert effect in code
    return code.replace(effect, f"{effect}\n        __import__('time').sleep(0.3)")


async def kill_and_go_on(scene: Scene, example: Path, kill: Kill) -> None:
    order = json.dumps({"order_id": kill.order_id, **SHORTLY})
    database = scene.folder / f"{kill.order_id}.db"
    words = ("run", example, "--id", kill.order_id, "--db", database, "--input", order)
    ledger = Path(scene.env["ORDER_LEDGER"])
    with scene.start_process(PERDURE, *words) as process:
        if isinstance(kill.moment, float):
            await asyncio.sleep(kill.moment)
        else:
            await eventually(lambda: effects_so_far(ledger, kill).get(kill.moment), what=str(kill))
        assert strike(process, kill.victim), f"{kill}: it was over before"

    with scene.start_process(PERDURE, *words) as again:
        await answer_for_warehouse(again, kill)
        printed = await asyncio.to_thread(again.output)
        assert again.wait() == 0, kill
    assert json.loads(printed) == {
        "order_id": kill.order_id,
        "payment_id": f"pay_{kill.order_id}",
        "tracking": f"track_{kill.order_id}",
    }, kill


def effects_so_far(ledger: Path, kill: Kill) -> dict[str, Any]:
    """Return the calls that the ledger has of an order, by effect."""
    return ledger_lines(ledger, kill.order_id) if ledger.exists() else {}


async def answer_for_warehouse(process: Process, kill: Kill) -> None:
    """Tell the order, once the customer has been reminded, that the goods are there."""
    await eventually(
        lambda: "ActivityCompleted: remind-customer" in process.log.read_text(), what=str(kill)
    )
    async with await Client.connect(address_of(process)) as client:
        await client.get_workflow_handle(kill.order_id).signal("warehouse_answered", True)


def check(ledger: Path, kill: Kill) -> None:
    """Each effect was there, under one key; the one that was struck was there twice."""
    calls = ledger_lines(ledger, kill.order_id)
    assert set(calls) == set(EFFECTS), kill
    for effect, entries in calls.items():
        assert len({entry["key"] for entry in entries}) == 1, (str(kill), effect)
    if isinstance(kill.moment, str):
        assert len(calls[kill.moment]) == 2, f"{kill}: not before it was recorded"


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
