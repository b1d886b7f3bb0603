"""The real server, over a store that kills at a chosen moment.

``python -m support.faulty_server PLAN ...`` takes the server's own options behind the path of a
plan file. When the plan names a run and an event, the commit that holds this event kills: the
server itself, the worker, or both; just before the commit or just after it. A plan works once.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec

from perdure_operator.engine.transitions import Transition
from perdure_operator.server import main as server
from perdure_operator.store.port import Outcome
from perdure_operator.store.sqlite import SqliteStore

Moment = Literal["before", "after"]
Victim = Literal["server", "worker", "both"]


class Plan(msgspec.Struct, kw_only=True):
    """Whom to kill, when."""

    workflow_id: str
    event: int
    moment: Moment
    victim: Victim
    worker_pid_file: str


@dataclass
class Executioner:
    """Carries out the plan that its file holds, if any."""

    file: Path

    def strike(self, transitions: Sequence[Transition], moment: Moment) -> None:
        """Kill if this is the moment that the plan names."""
        if not self.file.exists():
            return
        plan = msgspec.json.decode(self.file.read_bytes(), type=Plan)
        if plan.moment != moment or not _holds(transitions, plan):
            return
        self.file.unlink()
        if plan.victim in ("worker", "both"):
            os.kill(int(Path(plan.worker_pid_file).read_text()), signal.SIGKILL)
        if plan.victim in ("server", "both"):
            os.kill(os.getpid(), signal.SIGKILL)


def _holds(transitions: Sequence[Transition], plan: Plan) -> bool:
    return any(
        event.id == plan.event
        for transition in transitions
        if transition.row.workflow_id == plan.workflow_id
        for event in transition.events
    )


def main() -> None:
    """Serve, with a plan."""
    executioner = Executioner(Path(sys.argv[1]))

    class FaultyStore(SqliteStore):
        async def commit(self, transitions: Sequence[Transition]) -> list[Outcome]:
            executioner.strike(transitions, "before")
            outcomes = await super().commit(transitions)
            executioner.strike(transitions, "after")
            return outcomes

    server.SqliteStore = FaultyStore
    server.main(sys.argv[2:])


if __name__ == "__main__":
    main()
