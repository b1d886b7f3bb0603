"""A process that commits to a SQLite store until it is killed: ``PATH [KILL_AT]``.

Each commit moves the same three runs on together, and its number is printed when it is
acknowledged. With ``KILL_AT`` the process kills itself in the middle of that commit, when two of
its three transitions are written.
"""

from __future__ import annotations

import asyncio
import os
import signal as signals
import sys
from collections.abc import Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path

from perdure_operator.engine.transitions import Timer
from perdure_operator.store.port import Outcome
from perdure_operator.store.sqlite import SqliteStore
from support.transitions import signal, start, timer

RUN_IDS = ("run-a", "run-b", "run-c")


class Deadly(tuple[Timer, ...]):
    """Timers that kill whoever goes to write them."""

    __slots__ = ()

    def __iter__(self) -> Iterator[Timer]:
        """Die."""
        os.kill(os.getpid(), signals.SIGKILL)
        return super().__iter__()


async def main(path: Path, kill_at: int) -> None:
    """Commit for ever."""
    store = SqliteStore(path)
    await store.open()
    batch = [start(run_id, run_id=run_id) for run_id in RUN_IDS]
    for number in count(1):
        if number == kill_at:
            batch[-1] = replace(batch[-1], put_timers=Deadly([timer()]))
        assert await store.commit(batch) == [Outcome.COMMITTED] * len(batch)
        print(number, flush=True)
        batch = [signal(transition.row) for transition in batch]


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0))
