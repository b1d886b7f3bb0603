"""Carrying out actions: the only place where the controllers change anything.

Each action is idempotent, so what was interrupted is simply planned and applied again. Refusals
that a plan must know of come back as outcomes; everything else that goes wrong is raised, and the
object is looked at again later.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import assert_never

from perdure.protocol.verbs import SignalRequest
from perdure_operator.cluster import (
    Cluster,
    ConflictError,
    ForbiddenError,
    InvalidError,
    Manifest,
    ObjectKind,
    ObjectRef,
)
from perdure_operator.controllers.actions import (
    Action,
    ApplyObject,
    CreateObject,
    DeclareVersions,
    DeleteObject,
    ImportRefused,
    ImportRun,
    NameTaken,
    ObjectRefused,
    ObjectWritten,
    Outcome,
    ReportAttempt,
    RetryRefused,
    RetryRun,
    RunImported,
    RunRetried,
    RunStarted,
    ServerAction,
    SetFinalizer,
    ShowActivity,
    SignalDelivered,
    SignalRefused,
    StartRefused,
    StartRun,
    SteerRun,
    TakeAttempt,
    VersionsDeclared,
    WriteStatus,
)
from perdure_operator.controllers.notices import Notice, notices_of, rebuilt
from perdure_operator.controllers.placements.applying import AttemptApplier
from perdure_operator.controllers.server import (
    AlreadyClosedError,
    AlreadyStartedError,
    RequestRefusedError,
    RunNotFoundError,
    Server,
)
from perdure_operator.model import FINALIZER


class Applier:
    """Carries out actions on one cluster and one server."""

    def __init__(
        self,
        cluster: Cluster,
        server: Server,
        *,
        notify: Callable[[Manifest, Notice], None] = lambda _regarding, _notice: None,
    ) -> None:
        """``notify`` is told what is worth a notice, and of which object; it does not wait."""
        self._cluster = cluster
        self._server = server
        self._attempts = AttemptApplier(cluster, server)
        self._notify = notify

    async def apply(self, action: Action) -> Outcome | None:
        """Do it, and return what is worth knowing of it.

        Raises:
            ClusterError: The API server did not do its part.
            ServerError: The Perdure server did not do its part.
        """
        match action:
            case WriteStatus():
                return await self._write_status(action)
            case SetFinalizer():
                return await self._set_finalizer(action)
            case (
                ApplyObject(kind=kind, manifest=manifest)
                | CreateObject(kind=kind, manifest=manifest)
            ):
                replace = isinstance(action, ApplyObject)
                return await self._make(kind, manifest, replace=replace)
            case DeleteObject():
                await self._delete(action)
                return None
            case _:
                return await self._apply_to_server(action)

    async def _apply_to_server(self, action: ServerAction) -> Outcome | None:
        match action:
            case StartRun():
                return await self._start(action)
            case ImportRun():
                return await self._import(action)
            case SteerRun():
                return await self._steer(action)
            case DeclareVersions(request=request):
                await self._server.call(request)
                return VersionsDeclared(request=request)
            case TakeAttempt() | ReportAttempt() | ShowActivity():
                return await self._attempts.apply(action)
            case RetryRun():
                return await self._retry(action)
            case _:
                assert_never(action)

    async def _write_status(self, action: WriteStatus) -> Outcome:
        manifest = _identity(action.kind, action.ref)
        manifest["metadata"]["resourceVersion"] = action.resource_version
        manifest["status"] = action.status
        written = await self._cluster.apply_status(action.kind, manifest)
        for notice in notices_of(action.kind, action.was, action.status):
            self._notify(written, notice)
        return ObjectWritten(manifest=written)

    async def _set_finalizer(self, action: SetFinalizer) -> Outcome:
        if not action.present:
            position = action.finalizers.index(FINALIZER)
            released = await self._cluster.release(
                action.kind, action.ref, uid=action.uid, finalizer=FINALIZER, position=position
            )
            return ObjectWritten(manifest=released)
        manifest = _identity(action.kind, action.ref)
        manifest["metadata"] |= {"uid": action.uid, "finalizers": [FINALIZER]}
        return ObjectWritten(manifest=await self._cluster.apply(action.kind, manifest))

    async def _make(self, kind: ObjectKind, manifest: Manifest, *, replace: bool) -> Outcome | None:
        try:
            if replace:
                await self._cluster.apply(kind, manifest)
            else:
                await self._cluster.create(kind, manifest)
        except (ForbiddenError, InvalidError) as error:
            name = manifest["metadata"]["name"]
            is_invalid = isinstance(error, InvalidError)
            return ObjectRefused(kind=kind, name=name, message=error.message, is_invalid=is_invalid)
        except ConflictError:
            if replace:
                raise
            # Whoever made it under this name wanted the very same, if it is of the same owner.
            return NameTaken(kind=kind, name=manifest["metadata"]["name"])
        return None

    async def _delete(self, action: DeleteObject) -> None:
        try:
            await self._cluster.delete(action.kind, action.ref, uid=action.uid)
        except ConflictError:
            # Another object has the name by now, so this one is gone.
            return
        if action.notice is not None:
            self._notify(action.regarding, action.notice)

    async def _start(self, action: StartRun) -> Outcome:
        try:
            answer = await self._server.call(action.request)
        except AlreadyStartedError as error:
            return StartRefused(message=str(error), id_in_use=True)
        except RequestRefusedError as error:
            return StartRefused(message=str(error), id_in_use=False)
        return RunStarted(run_id=answer.run_id)

    async def _import(self, action: ImportRun) -> Outcome:
        try:
            answer = await self._server.call(action.request)
        except (AlreadyStartedError, RequestRefusedError, RunNotFoundError) as error:
            # Not found is the verb: the server is of a version that has none.
            return ImportRefused(message=str(error))
        if answer.imported and action.regarding:
            notice = rebuilt(answer.run_id, len(action.request.events))
            self._notify(action.regarding, notice)
        return RunImported()

    async def _retry(self, action: RetryRun) -> Outcome | None:
        try:
            answer = await self._server.call(action.request)
        except AlreadyStartedError:
            # Somebody else was faster; the next look at the run finds what they made.
            return None
        except (RequestRefusedError, RunNotFoundError) as error:
            return RetryRefused(retry_id=action.retry_id, message=str(error))
        return RunRetried(retry_id=action.retry_id, answer=answer)

    async def _steer(self, action: SteerRun) -> Outcome | None:
        signal_id = action.request.signal_id if isinstance(action.request, SignalRequest) else ""
        try:
            await self._server.call(action.request)
        except (AlreadyClosedError, RunNotFoundError):
            # There is nobody to tell; the next look at the run says so in the status.
            return None
        except RequestRefusedError as error:
            return SignalRefused(signal_id=signal_id, message=str(error)) if signal_id else None
        return SignalDelivered(signal_id=signal_id) if signal_id else None


def _identity(kind: ObjectKind, ref: ObjectRef) -> Manifest:
    metadata = {"name": ref.name, "namespace": ref.namespace}
    return {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": metadata}
