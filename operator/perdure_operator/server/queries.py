"""Questions to a run's code: asked of a worker, answered from its memory, recorded nowhere."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from itertools import count

from perdure.protocol import messages as msg
from perdure.protocol.payloads import Millis, Payloads
from perdure.protocol.verbs import QueryRequest, QueryResponse
from perdure_operator.server.dispatching import Dispatcher
from perdure_operator.server.errors import VerbError
from perdure_operator.server.keeping import HotRun, Keeper
from perdure_operator.server.sessions import Session
from perdure_operator.server.versions import QueueKey


@dataclass(slots=True, eq=False)
class Question:
    """One query under way."""

    id: int
    run_id: str
    queue: QueueKey
    name: str
    input: Payloads
    answer: asyncio.Future[msg.QueryAnswer]
    session: Session | None = None
    """The worker that was asked."""
    pin: str = ""
    """Which version's workers may be asked, see :mod:`.versions`."""


class Queries:
    """The queries of one server."""

    def __init__(self, keeper: Keeper, dispatcher: Dispatcher) -> None:
        self._keeper = keeper
        self._dispatcher = dispatcher
        self._questions: dict[int, Question] = {}
        self._numbers = count(1)

    async def ask(self, hot: HotRun, request: QueryRequest) -> QueryResponse:
        """Ask, and wait for the answer.

        Raises:
            VerbError: nobody answered in time; the message says why.
        """
        question = Question(
            id=next(self._numbers),
            run_id=hot.run_id,
            queue=(hot.run.ref.namespace, hot.run.start.task_queue),
            name=request.name,
            input=request.input,
            answer=asyncio.get_running_loop().create_future(),
        )
        self._questions[question.id] = question
        try:
            await self._place(hot, question)
            answer = await asyncio.wait_for(question.answer, request.timeout / 1000)
        except TimeoutError:
            raise self._unanswered(hot, question, request) from None
        finally:
            del self._questions[question.id]
            self._dispatcher.drop_query(question.queue, question.id)
            if question in hot.queries:
                hot.queries.remove(question)
        return QueryResponse(result=answer.result, failure=answer.failure)

    def _unanswered(self, hot: HotRun, question: Question, request: QueryRequest) -> VerbError:
        where = f"query {request.name!r} of {hot.run.ref.workflow_id!r}"
        waited = f"within {request.timeout / 1000:g} s"
        if question.session is not None:
            return VerbError(
                "Timeout", f"{where}: worker {question.session.identity} did not answer {waited}"
            )
        return VerbError(
            "NoWorker",
            f"{where}: no worker of task queue {question.queue[1]!r} in namespace "
            f"{question.queue[0]!r} was free to answer {waited}; is one running?",
        )

    async def _place(self, hot: HotRun, question: Question) -> None:
        """Ask a worker; or wait until the run's code has been told all, or a worker comes."""
        if hot.failures:
            raise VerbError(
                "TaskFailing",
                f"the code of {hot.run.ref.workflow_id!r} keeps failing ({hot.failure_cause}, "
                f"{hot.failures} times) and cannot answer: "
                f"{hot.failure.message if hot.failure else ''}",
            )
        # What the code has been told may be on its way to the disk: a worker that reads the
        # history before it is there would answer from a time before.
        # The code of a suspended run is told nothing: it answers from where it was held.
        is_behind = hot.run.needs_task and not hot.run.is_suspended
        if hot.task is not None or is_behind or hot.commits:
            hot.queries.append(question)
            return
        session, question.pin = hot.sticky, hot.pin
        if session is None or not session.is_open or not self._dispatcher.lets(session, hot.pin):
            session = self._dispatcher.pick_for_query(
                question.queue, hot.run.start.workflow_type, hot.pin
            )
        if session is None:
            self._dispatcher.add_query(question.queue, question.id, question.pin)
            return
        question.session = session
        complete = hot.sticky is not session or hot.run.is_suspended
        events = await self._keeper.events_after(hot, 0) if complete else []
        session.send(
            msg.AskQuery(
                query=question.id,
                run=hot.run.ref,
                name=question.name,
                input=question.input,
                events=tuple(events),
                complete=complete,
            )
        )

    async def offer(self, number: int, _since: Millis) -> None:
        """A worker has come that may be asked."""
        question = self._questions.get(number)
        if question is None:
            return
        hot = await self._keeper.get(question.run_id)
        if hot is not None:
            await self._place(hot, question)

    def on_rest(self, hot: HotRun) -> None:
        """The run's code has been told all, or cannot be run: ask what waits."""
        waiting, hot.queries = hot.queries, []
        for question in waiting:
            self._place_again(hot, question)

    def on_broken(self, hot: HotRun) -> None:
        """The run in memory is worthless: what waits on it waits on the one that is read anew."""
        waiting, hot.queries = hot.queries, []
        for question in waiting:
            self._dispatcher.add_query(question.queue, question.id, question.pin)

    def _place_again(self, hot: HotRun, question: Question) -> None:
        async def place() -> None:
            try:
                await self._place(hot, question)
            except VerbError as error:
                if not question.answer.done():
                    question.answer.set_exception(error)

        task = asyncio.get_running_loop().create_task(place())
        question.answer.add_done_callback(lambda _: task.cancel())

    def on_answer(self, session: Session, answer: msg.QueryAnswer) -> None:
        """A worker answers; only the one that was asked is listened to."""
        question = self._questions.get(answer.query)
        is_asked = question is not None and question.session is session
        if question is not None and is_asked and not question.answer.done():
            question.answer.set_result(answer)

    def on_evicted(self, session: Session, run_id: str) -> None:
        """A worker dropped a run that it was perhaps just asked about: ask again, with history."""
        hot = self._keeper.peek(run_id)
        for question in list(self._questions.values()):
            if hot is not None and question.session is session and question.run_id == run_id:
                question.session = None
                self._place_again(hot, question)

    def on_session_lost(self, session: Session) -> None:
        """A worker is gone: ask another."""
        for question in list(self._questions.values()):
            if question.session is session and not question.answer.done():
                question.session = None
                self._dispatcher.add_query(question.queue, question.id, question.pin)
