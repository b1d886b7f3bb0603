"""A server without HTTP, and workers that are driven by hand, in virtual time.

The host is the real one over the in-memory store; the workers speak the real protocol, message
by message, as a test says.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from itertools import count
from typing import Any, TypeVar

import msgspec

from perdure.protocol import messages as msg
from perdure.protocol.events import HistoryEvent, event_name
from perdure.protocol.messages import decode_from_server
from perdure.protocol.verbs import StartRequest
from perdure_operator.engine.transitions import Transition
from perdure_operator.server.host import Host, HostSettings
from perdure_operator.server.sessions import Session
from perdure_operator.server.verbs import Verbs
from perdure_operator.store.memory import MemoryStore
from perdure_operator.store.port import Outcome, StoreUnavailableError

EPOCH = 1_700_000_000_000
M = TypeVar("M")


class CountingStore(MemoryStore):
    """Counts its commits, and fails when told to."""

    def __init__(self) -> None:
        super().__init__()
        self.commits = 0
        self.failing = False
        self.unwritable = ""
        """A run whose transitions make the store choke."""
        self.taken = ""
        """A run whose next transition comes too late: somebody else has written one."""

    async def commit(self, transitions: Sequence[Transition]) -> list[Outcome]:
        """Commit, unless failing."""
        if self.failing:
            raise StoreUnavailableError("the disk is full")
        if any(each.row.run_id == self.unwritable for each in transitions):
            raise OverflowError("int too large")
        self.commits += 1
        if transitions[0].row.run_id == self.taken:
            self.taken = ""
            return [Outcome.CONFLICT, *await super().commit(transitions[1:])]
        return await super().commit(transitions)


class World:
    """One host at a time, over one store; time is the loop's."""

    def __init__(self, **settings: Any) -> None:
        self.store = CountingStore()
        self.settings = HostSettings(**settings)
        self._ids = count(1)
        self.host = self._new_host()

    def now(self) -> int:
        """The time, in milliseconds."""
        return EPOCH + round(asyncio.get_running_loop().time() * 1000)

    def _new_host(self) -> Host:
        return Host(
            self.store,
            now=self.now,
            new_id=lambda: f"run-{next(self._ids)}",
            settings=self.settings,
        )

    async def __aenter__(self) -> World:
        await self.host.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.host.stop()

    async def restart(self) -> None:
        """Stop the host and start another over the same store; connections are broken."""
        await self.host.stop()
        self.host = self._new_host()
        await self.host.start()

    @property
    def verbs(self) -> Verbs:
        """What clients may ask."""
        return Verbs(self.host)

    async def start(self, workflow_id: str = "order-42", **options: Any) -> str:
        """Start a run and return its id."""
        defaults = {"namespace": "default", "workflow_type": "Order", "task_queue": "q"}
        request = StartRequest(workflow_id=workflow_id, **{**defaults, **options})
        return (await self.verbs.start(request)).run_id

    async def worker(self, worker_id: str = "w1", **hello: Any) -> ByHand:
        """Connect a worker."""
        worker = ByHand(self, worker_id, hello)
        await self.host.connect(worker.session)
        await settle()
        return worker

    async def history(self, run_id: str) -> list[HistoryEvent]:
        """Return a run's history as stored."""
        return await self.store.read_history(run_id)

    async def names(self, run_id: str) -> list[str]:
        """Return the kinds of its events."""
        return [event_name(each.event) for each in await self.history(run_id)]


class ByHand:
    """A worker that does what the test says."""

    def __init__(self, world: World, worker_id: str, hello: dict[str, Any]) -> None:
        self.world = world
        self.inbox: list[msg.FromServer] = []
        defaults: dict[str, Any] = {
            "identity": f"{worker_id}@host",
            "namespace": "default",
            "task_queue": "q",
            "workflow_types": ("Order",),
            "activity_types": ("charge",),
        }
        self.session = Session(
            msg.Hello(worker_id=worker_id, **{**defaults, **hello}),
            self._receive,
            self.disconnect,
            world.now(),
        )
        self._pump = asyncio.get_running_loop().create_task(self.session.pump())
        self._reports: dict[int, int] = {}

    async def _receive(self, frame: bytes) -> None:
        self.inbox += decode_from_server(frame)

    def disconnect(self) -> None:
        """Break the connection."""
        self._pump.cancel()
        self.world.host.disconnect(self.session)

    async def say(self, message: msg.FromWorker) -> None:
        """Send a message, as the wire would carry it."""
        await self.say_at_once(message)

    async def say_at_once(self, *messages: msg.FromWorker) -> None:
        """Send messages in one frame."""
        for carried in msg.decode_from_worker(msg.encode_frame(messages)):
            await self.world.host.on_message(self.session, carried)
        await settle()

    async def take(self, kind: type[M]) -> M:
        """Return the next message of a kind; fails when there is none."""
        await settle()
        for place, message in enumerate(self.inbox):
            if isinstance(message, kind):
                del self.inbox[place]
                return message
        raise AssertionError(f"no {kind.__name__} came, but {self.inbox}")

    async def take_all(self, kind: type[M]) -> list[M]:
        """Return all messages of a kind that have come."""
        await settle()
        taken: list[M] = [message for message in self.inbox if isinstance(message, kind)]
        self.inbox = [message for message in self.inbox if not isinstance(message, kind)]
        return taken

    async def has(self, kind: type) -> bool:
        """Whether a message of a kind has come."""
        await settle()
        return any(isinstance(each, kind) for each in self.inbox)

    async def progress(
        self,
        task: msg.WorkflowTask,
        *commands: Any,
        through: int | None = None,
        steps: tuple[msg.StepResult, ...] = (),
        done: bool = True,
    ) -> None:
        """Report what the code of a task came to, having been told ``through`` (all by default).

        ``through=0``: without an activation.
        """
        number = self._reports[task.task] = self._reports.get(task.task, 0) + 1
        told = task.events[-1].id if through is None else through
        await self.say(
            msg.TaskProgress(
                task=task.task,
                number=number,
                activations=(msg.Activation(told, task.started),) if told else (),
                commands=commands,
                steps=steps,
                done=done,
            )
        )


async def settle() -> None:
    """Let everything that is ready happen; no time passes."""
    for _ in range(20):
        await asyncio.sleep(0)


def plain(value: object) -> bytes:
    """Encode a value for comparing."""
    return msgspec.json.encode(value)
