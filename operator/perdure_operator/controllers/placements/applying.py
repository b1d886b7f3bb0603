"""Carrying out what concerns attempts: they are taken and reported at the server."""

from __future__ import annotations

from typing import assert_never

from perdure.protocol.verbs import ReportActivityRequest
from perdure_operator.cluster import ACTIVITIES, Cluster, ConflictError, InvalidError
from perdure_operator.controllers.actions import (
    AttemptRefused,
    AttemptTaken,
    NameTaken,
    Outcome,
    ReportAttempt,
    ShowActivity,
    TakeAttempt,
)
from perdure_operator.controllers.placements.outcomes import build_failure
from perdure_operator.controllers.server import (
    AlreadyClosedError,
    RequestRefusedError,
    RunNotFoundError,
    Server,
)


class AttemptApplier:
    """Carries out actions that concern attempts."""

    def __init__(self, cluster: Cluster, server: Server) -> None:
        self._cluster = cluster
        self._server = server

    async def apply(self, action: TakeAttempt | ReportAttempt | ShowActivity) -> Outcome | None:
        """Do it, and return what is worth knowing of it."""
        match action:
            case TakeAttempt():
                return await self._take(action)
            case ReportAttempt():
                await self._report(action)
                return None
            case ShowActivity():
                return await self._show(action)
            case _:
                assert_never(action)

    async def _take(self, action: TakeAttempt) -> AttemptTaken | AttemptRefused | None:
        seq = action.request.seq
        try:
            answer = await self._server.call(action.request)
        except (AlreadyClosedError, RunNotFoundError):
            # It is over; the next look at the run says so.
            return None
        except RequestRefusedError as error:
            return AttemptRefused(seq=seq, message=str(error))
        return AttemptTaken(seq=seq, answer=answer)

    async def _report(self, action: ReportAttempt) -> None:
        try:
            await self._server.call(action.request)
        except (AlreadyClosedError, RunNotFoundError):
            # Its container reported it already, or its time was up.
            return

    async def _show(self, action: ShowActivity) -> Outcome | None:
        try:
            await self._cluster.create(ACTIVITIES, action.manifest)
        except ConflictError:
            return NameTaken(kind=ACTIVITIES, name=action.manifest["metadata"]["name"])
        except InvalidError as error:
            await self._fail(action, f"its template cannot be used: {error}")
        return None

    async def _fail(self, action: ShowActivity, why: str) -> None:
        taken = await self._take(TakeAttempt(request=action.take))
        if not isinstance(taken, AttemptTaken) or not taken.answer.token:
            return
        failure = build_failure(why, retry=False)
        report = ReportActivityRequest(token=taken.answer.token, failure=failure)
        await self._report(ReportAttempt(request=report))
