"""A store that is full, damaged, somebody else's or in use: words, an exit code, nothing lost."""

from __future__ import annotations

import resource
import signal
import sqlite3
import time
from pathlib import Path

import pytest

from perdure.client import Client, RetryConfig, RPCError, RPCStatusCode
from support.processes import Server
from support.scenes import Scene, names_of
from support.waiting import eventually

WORKFLOWS = Path(__file__).parents[1] / "support" / "workflows.py"
IN_USE, CORRUPT, PORT_TAKEN = 3, 4, 5

limits_others = pytest.mark.skipif(
    not hasattr(resource, "prlimit"), reason="only Linux limits a running process from outside"
)


def fill_disk(server: Server) -> None:
    """Let no file of the server's grow or be written any more."""
    resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))


def free_disk(server: Server) -> None:
    """Give it space again."""
    unlimited = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
    resource.prlimit(server.pid, resource.RLIMIT_FSIZE, unlimited)


@limits_others
async def test_on_a_full_disk_nothing_is_taken_in_and_runs_go_on_when_there_is_space_again(
    own_scene: Scene,
) -> None:
    server = own_scene.start_server("--log-level", "error")
    own_scene.start_worker(WORKFLOWS)
    impatient = RetryConfig(max_elapsed_time_millis=1)
    async with own_scene.client(retry_config=impatient) as client:
        waiting = await client.start_workflow("Collect", 2, id="before", task_queue="default")
        await waiting.signal("add", "kept")
        sleeping = await client.start_workflow("Sleep", 1, id="sleeping", task_queue="default")
        await eventually(lambda: has_timer(sleeping))

        fill_disk(server)
        for refused in (
            client.start_workflow("Collect", 1, id="during", task_queue="default"),
            waiting.signal("add", "refused"),
        ):
            with pytest.raises(RPCError) as caught:
                await refused
            assert caught.value.http_status == 503
            assert caught.value.status is RPCStatusCode.UNAVAILABLE
            assert "Nothing was recorded; try again when the store is well" in caught.value.message
            assert "disk" in caught.value.message
        assert await waiting.query("gathered") == ["kept"], "what is there can still be read"
        told = await own_scene.perdure_async("signal", "before", "add", "-i", "1")
        assert told.code == 4
        assert "disk" in told.err
        await timer_is_due(sleeping)

        free_disk(server)
        await eventually(lambda: takes(client, waiting))
        assert await waiting.result() == ["kept", "again"]
        assert await sleeping.result() >= 1
        with pytest.raises(RPCError, match="no run of 'during'"):
            await client.get_workflow_handle("during").describe()


async def has_timer(handle) -> bool:
    return "TimerStarted" in await names_of(handle)


async def timer_is_due(handle) -> None:
    """Wait until the server must have noticed that it cannot record the timer's end."""
    history = list((await handle.fetch_history()).events)
    due = history[0].time / 1000 + 1.2
    await eventually(lambda: time.time() > due)
    assert "TimerFired" not in await names_of(handle)


async def takes(client: Client, handle) -> bool:
    try:
        await handle.signal("add", "again")
    except RPCError as error:
        if error.http_status != 503:
            raise
        return False
    return True


# --- files that are not what they should be ---------------------------------------------------


@pytest.fixture
async def used_database(own_scene: Scene) -> Path:
    """A database with a hundred runs in it, whose server has left."""
    server = own_scene.start_server()
    async with own_scene.client() as client:
        for number in range(100):
            await client.start_workflow(
                "Collect", number, id=f"c{number}", task_queue="nobody", memo={"fill": "x" * 500}
            )
    assert server.stop() == 0
    return own_scene.db


def refuses(scene: Scene, code: int) -> str:
    """Try a server and return what it said; the file must stay as it was found."""
    before = scene.db.read_bytes()
    finished = scene.try_server("--port", "0")
    assert finished.code == code, finished.err
    assert finished.out == ""
    assert "Traceback" not in finished.err
    assert scene.db.read_bytes() == before
    return finished.err


def test_a_damaged_database_is_refused_and_left_alone(
    own_scene: Scene, used_database: Path
) -> None:
    with used_database.open("r+b") as file:
        file.seek(used_database.stat().st_size // 2 // 4096 * 4096)
        file.write(b"\xa5" * 4096)
    said = refuses(own_scene, CORRUPT)
    assert str(used_database) in said
    assert "Restore a backup" in said


def test_a_file_that_is_no_database_is_refused_and_left_alone(own_scene: Scene) -> None:
    own_scene.db.write_text("Dear diary\n" * 1000)
    assert "not a database" in refuses(own_scene, CORRUPT)


def test_another_programs_database_is_refused_and_left_alone(own_scene: Scene) -> None:
    with sqlite3.connect(own_scene.db) as theirs:
        theirs.execute("CREATE TABLE songs (title TEXT)")
    theirs.close()
    assert "is not a Perdure database" in refuses(own_scene, CORRUPT)


def test_a_database_of_a_newer_release_is_refused_and_left_alone(
    own_scene: Scene, used_database: Path
) -> None:
    with sqlite3.connect(used_database) as ours:
        ours.execute("PRAGMA user_version = 999")
    ours.close()
    assert "upgrade this server" in refuses(own_scene, CORRUPT)


def test_the_run_command_passes_on_why_the_server_refused(own_scene: Scene) -> None:
    own_scene.db.write_text("Dear diary\n" * 1000)
    finished = own_scene.perdure(
        "run", WORKFLOWS.as_posix() + ":Same", "-i", "1", "--db", own_scene.db
    )
    assert finished.code == 3
    assert "not a database" in finished.err
    assert "did not start (exit code 4)" in finished.err


# --- what only one may have -------------------------------------------------------------------


async def test_a_second_server_on_the_same_database_is_refused(own_scene: Scene) -> None:
    server = own_scene.start_server()
    second = own_scene.try_server("--port", "0")
    assert second.code == IN_USE
    assert f"is in use by another server (pid {server.pid} on " in second.err
    async with own_scene.client() as client:
        await client.start_workflow("Collect", 1, id="still-there", task_queue="nobody")


def test_a_server_waits_for_one_that_is_ending(own_scene: Scene) -> None:
    first = own_scene.start_server()
    first.signal(signal.SIGTERM)
    own_scene.start_server()
    assert first.wait() == 0


def test_a_port_that_is_taken_is_said(own_scene: Scene, server: Server) -> None:
    finished = own_scene.try_server("--port", str(server.port))
    assert finished.code == PORT_TAKEN
    assert f"cannot listen on 127.0.0.1:{server.port}: " in finished.err
    assert "give another --port" in finished.err


def test_a_folder_that_cannot_be_is_said(own_scene: Scene) -> None:
    own_scene.write("file", "in the way")
    finished = own_scene.try_server("--port", "0", db=own_scene.folder / "file" / "perdure.db")
    assert finished.code == IN_USE
    assert "cannot be used" in finished.err
    assert "Traceback" not in finished.err
