"""What a SQLite store holds after its process was killed: every acknowledged commit, whole."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from perdure_operator.store.sqlite import SqliteStore
from perdure_operator.store.sqlite_database import size_of, wal_of
from support.committing import RUN_IDS

TESTS = Path(__file__).parents[1]


@contextmanager
def committing(path: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """A process that commits to the store at ``path``; see ``support.committing``."""
    command = [sys.executable, "-m", "support.committing", str(path), *arguments]
    environment = os.environ | {"PYTHONPATH": str(TESTS)}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    with process:
        try:
            yield process
        finally:
            process.kill()


async def commits_in(path: Path) -> int:
    """Return how many commits the store holds, having looked that each is whole."""
    store = SqliteStore(path)
    await store.open()
    try:
        rows = [await store.get_run(run_id) for run_id in RUN_IDS]
        versions = {row.version if row else 0 for row in rows}
        lengths = {len(await store.read_history(run_id)) for run_id in RUN_IDS}
    finally:
        await store.close()
    assert len(versions) == 1, f"a commit was torn apart: {rows}"
    assert lengths == versions
    return versions.pop()


@pytest.mark.parametrize("commits", [0, 1, 5, 40, 700])
async def test_what_was_acknowledged_outlives_a_kill(tmp_path: Path, commits: int) -> None:
    path = tmp_path / "perdure.db"
    with committing(path) as process:
        assert process.stdout is not None
        for _ in range(commits):
            process.stdout.readline()
        process.send_signal(signal.SIGKILL)
        acknowledged = commits + len(process.stdout.read().split())

    assert acknowledged <= await commits_in(path) <= acknowledged + 1


@pytest.mark.parametrize("kill_at", [1, 2, 30])
async def test_a_kill_in_the_middle_of_a_commit_leaves_nothing_of_it(
    tmp_path: Path, kill_at: int
) -> None:
    path = tmp_path / "perdure.db"
    with committing(path, str(kill_at)) as process:
        process.wait()

    assert process.returncode == -signal.SIGKILL
    assert await commits_in(path) == kill_at - 1


async def test_a_torn_log_loses_whole_commits_from_its_end(tmp_path: Path) -> None:
    """As after a power cut, when what was written but never synced is there in part."""
    path = tmp_path / "perdure.db"
    with committing(path, "12") as process:
        process.wait()

    found = []
    for cut in range(32, size_of(wal_of(path)), 9_000):
        copy = tmp_path / f"{cut}" / "perdure.db"
        copy.parent.mkdir()
        shutil.copy(path, copy)
        shutil.copy(wal_of(path), wal_of(copy))
        with wal_of(copy).open("r+b") as log:
            log.seek(cut)
            log.write(bytes(5000))
        try:
            found.append(await commits_in(copy))
        finally:
            shutil.rmtree(copy.parent)
        if found[-1] == 11:
            break

    assert found == sorted(found)
    assert (found[0], found[-1]) == (0, 11)
    assert len(set(found)) > 5


async def test_an_open_that_was_killed_can_be_done_again(tmp_path: Path) -> None:
    for moment in range(5):
        path = tmp_path / f"{moment}.db"
        with committing(path) as process:
            while not path.exists():
                time.sleep(0.0002)
            time.sleep(moment * 0.002)
            process.kill()

        assert await commits_in(path) >= 0
