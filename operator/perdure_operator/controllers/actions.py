"""What a plan consists of: one change each, to the cluster or to a run.

An action says what is wanted, not how things were; doing it twice is the same as doing it once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from perdure.protocol import verbs as vb
from perdure.protocol.retries import RetryResponse
from perdure_operator.cluster import Manifest, ObjectKind, ObjectRef
from perdure_operator.controllers.notices import Notice
from perdure_operator.model import ObjectMeta, ResourceStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteStatus:
    """Have the object's status be this."""

    kind: ObjectKind
    ref: ObjectRef
    resource_version: str
    """The object as it was planned on; a changed one is not written to, but looked at again."""
    status: Manifest
    was: Manifest = field(default_factory=dict)
    """The status that it replaces."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SetFinalizer:
    """Have the object wait, or no longer wait, for what it started."""

    kind: ObjectKind
    ref: ObjectRef
    uid: str
    present: bool
    finalizers: tuple[str, ...]
    """What the object waits for now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ApplyObject:
    """Have an object as this says, whether it is there already or not."""

    kind: ObjectKind
    manifest: Manifest


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateObject:
    """Have an object of this name; one that is there is left as it is."""

    kind: ObjectKind
    manifest: Manifest


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteObject:
    """Have this very object gone."""

    kind: ObjectKind
    ref: ObjectRef
    uid: str
    notice: Notice | None = None
    """What is told of it, when it is gone for a reason that somebody should know."""
    regarding: Manifest = field(default_factory=dict)
    """The object that the notice is about."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StartRun:
    """Have the run; the request's id makes it one run however often it is asked for."""

    request: vb.StartRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportRun:
    """Have the run that a checkpoint tells of, as it was then; one that is there stays."""

    request: vb.ImportRequest
    regarding: Manifest = field(default_factory=dict)
    """The object whose run it is, as far as a notice names it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SteerRun:
    """Tell the run something: a signal, to stop, to wait, to go on."""

    request: (
        vb.SignalRequest
        | vb.CancelRequest
        | vb.TerminateRequest
        | vb.SuspendRequest
        | vb.ResumeRequest
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class DeclareVersions:
    """Have the server send runs to these versions of a task queue's code."""

    request: vb.SetCurrentVersionRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class TakeAttempt:
    """Have the next attempt of an activity begin; one that runs is not begun again."""

    request: vb.TakeActivityRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportAttempt:
    """Have it recorded how an attempt ended; one that is over stays as it is."""

    request: vb.ReportActivityRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class ShowActivity:
    """Have an Activity that shows an activity of a run, so that its attempts get their pods.

    An activity whose template the API server does not take fails: else nobody ever ran it.
    """

    manifest: Manifest
    take: vb.TakeActivityRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryRun:
    """Have a new run of one that has ended; the request's id makes it one, however often asked."""

    request: vb.RetryRequest
    retry_id: str


ServerAction = (
    StartRun
    | ImportRun
    | SteerRun
    | DeclareVersions
    | TakeAttempt
    | ReportAttempt
    | ShowActivity
    | RetryRun
)
Action = WriteStatus | SetFinalizer | ApplyObject | CreateObject | DeleteObject | ServerAction


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to do now, and when to look again if nothing happens until then."""

    actions: Sequence[Action] = ()
    again: timedelta | None = None
    look_at_once: bool = False
    """The actions bring about something that the next plan needs to see."""
    look_soon: timedelta | None = None
    """As ``look_at_once``, but others have their turn first, and so much time may pass."""
    blocked: str = ""
    """What keeps this object from getting on: it is tried again, later each time."""


def set_finalizer(kind: ObjectKind, metadata: ObjectMeta, *, present: bool) -> SetFinalizer:
    """Return the action for this object."""
    return SetFinalizer(
        kind=kind,
        ref=ref_of(metadata),
        uid=metadata.uid,
        present=present,
        finalizers=metadata.finalizers,
    )


def delete_object(kind: ObjectKind, metadata: ObjectMeta) -> DeleteObject:
    """Return the action for this object."""
    return DeleteObject(kind=kind, ref=ref_of(metadata), uid=metadata.uid)


def write_status(
    kind: ObjectKind,
    metadata: ObjectMeta,
    *,
    before: ResourceStatus,
    after: ResourceStatus,
    sparse: bool = True,
) -> list[Action]:
    """Return the action for this object, or nothing when the status says all that already.

    Fields that have nothing to say are left out of a ``sparse`` status.
    """
    status, was = _dump(after, sparse=sparse), _dump(before, sparse=sparse)
    if status == was:
        return []
    return [
        WriteStatus(
            kind=kind,
            ref=ref_of(metadata),
            resource_version=metadata.resource_version,
            status=status,
            was=was,
        )
    ]


def _dump(status: ResourceStatus, *, sparse: bool) -> Manifest:
    return status.model_dump(mode="json", exclude_none=True, exclude_defaults=sparse)


def ref_of(metadata: ObjectMeta) -> ObjectRef:
    """Return which object this is."""
    return ObjectRef(namespace=metadata.namespace, name=metadata.name)


# --- what came of them -------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStarted:
    """There is a run."""

    run_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StartRefused:
    """There is no run, and asking again at once would not help."""

    message: str
    id_in_use: bool
    """The workflow id belongs to another run; otherwise the request itself is wrong."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunImported:
    """The run is there again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportRefused:
    """The server does not take the run as its checkpoint has it."""

    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRetried:
    """There is a new run."""

    retry_id: str
    answer: RetryResponse

    @property
    def run_id(self) -> str:
        """The new run."""
        return self.answer.run_id


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryRefused:
    """The run cannot be retried, and asking again would not help."""

    retry_id: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectRefused:
    """The API server does not let the operator make an object: a right, a quota or a policy."""

    kind: ObjectKind
    name: str
    message: str
    is_invalid: bool = False
    """It is malformed: asking again gives the same answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NameTaken:
    """There was an object of the name already, made by us before or by somebody else."""

    kind: ObjectKind
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectWritten:
    """The object as it is after it was written."""

    manifest: Manifest


@dataclass(frozen=True, slots=True, kw_only=True)
class SignalDelivered:
    """The run has the signal, durably."""

    signal_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SignalRefused:
    """The run cannot be told this, ever."""

    signal_id: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptTaken:
    """The attempt that runs now, with the right to report it; or that none may begin yet."""

    seq: int
    answer: vb.TakeActivityResponse


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptRefused:
    """The server does not take a request about an attempt, ever."""

    seq: int
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerAway:
    """The Perdure server did not answer; what was to be asked of it was not asked."""

    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionsDeclared:
    """The server knows, durably, which versions there are."""

    request: vb.SetCurrentVersionRequest


Outcome = (
    ServerAway
    | RunStarted
    | StartRefused
    | RunImported
    | ImportRefused
    | RunRetried
    | RetryRefused
    | SignalDelivered
    | SignalRefused
    | ObjectRefused
    | NameTaken
    | ObjectWritten
    | VersionsDeclared
    | AttemptTaken
    | AttemptRefused
)
