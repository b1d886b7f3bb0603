"""Starting containers as activities: any image, in any language.

A container is an activity to its workflow: it has the same timeouts, retries, heartbeats and
cancellation, and its handle is an activity's. No worker runs it; the operator makes a Job of each
attempt.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, TypedDict, TypeVar, Unpack, cast, overload

from perdure.common import Pod, RetryPolicy
from perdure.common._pods import EnvValue, PullPolicy
from perdure.exceptions import UsageError
from perdure.protocol.placements import Placement
from perdure.workflow._options import ActivityConfig, check_options, timed_request
from perdure.workflow._requests import ActivityCancellationType, ActivityHandle, ActivityRequest
from perdure.workflow._runtime import current

R = TypeVar("R")

_MAX_EXIT_CODE = 255


class ContainerConfig(TypedDict, total=False):
    """Options of a container, as keyword arguments or to be kept and passed with ``**``.

    ``start_to_close_timeout`` (of one attempt, from its being taken by the operator on) or
    ``schedule_to_close_timeout`` (of all of them) must be given. What is about its pod is
    as in :class:`perdure.common.Pod`.
    """

    command: Sequence[str]
    """What it runs; by default what the image says. ``$(PERDURE_INPUT)`` is replaced."""
    args: Sequence[str]
    """The command's arguments, likewise."""
    input: Sequence[Any]
    """JSON for it, as a list: in ``$PERDURE_INPUT`` and in the file ``$PERDURE_INPUT_FILE``."""
    name: str | None
    """What history calls it; by default the image's name without registry and tag."""
    non_retryable_exit_codes: Sequence[int]
    """Exit codes that another attempt would not mend."""
    env: Mapping[str, EnvValue]
    resources: Mapping[str, Mapping[str, Any]]
    node_selector: Mapping[str, str]
    tolerations: Sequence[Mapping[str, Any]]
    volumes: Sequence[Mapping[str, Any]]
    volume_mounts: Sequence[Mapping[str, Any]]
    service_account: str
    image_pull_policy: PullPolicy | None
    image_pull_secrets: Sequence[str]
    template: Mapping[str, Any]
    schedule_to_close_timeout: timedelta | None
    schedule_to_start_timeout: timedelta | None
    start_to_close_timeout: timedelta | None
    heartbeat_timeout: timedelta | None
    retry_policy: RetryPolicy | None
    cancellation_type: ActivityCancellationType
    activity_id: str | None
    summary: str | None


@overload
def start_container(
    image: str, *, result_type: type[R], **options: Unpack[ContainerConfig]
) -> ActivityHandle[R]: ...
@overload
def start_container(
    image: str, *, result_type: None = ..., **options: Unpack[ContainerConfig]
) -> ActivityHandle[Any]: ...
def start_container(
    image: str, *, result_type: type | None = None, **options: Unpack[ContainerConfig]
) -> ActivityHandle[Any]:
    """Start a container of ``image`` as an activity and return its handle.

    It succeeds when it exits with code 0. Its result is what it wrote to ``$PERDURE_RESULT_FILE``
    (JSON, or else a string; 4 KiB at most) or reported over HTTP (2 MiB at most). Another exit
    code raises an :class:`~perdure.exceptions.ActivityError` whose cause is an
    :class:`~perdure.exceptions.ApplicationError` of type ``ContainerFailed``, when the retry
    policy has no attempt left.

    Args:
        image: What to run.
        result_type: What the result is decoded as; by default whatever its JSON is.
        options: See :class:`ContainerConfig`.
    """
    return current().start_activity(_container_request(image, result_type, options))


@overload
async def execute_container(
    image: str, *, result_type: type[R], **options: Unpack[ContainerConfig]
) -> R: ...
@overload
async def execute_container(
    image: str, *, result_type: None = ..., **options: Unpack[ContainerConfig]
) -> Any: ...
async def execute_container(
    image: str, *, result_type: type | None = None, **options: Unpack[ContainerConfig]
) -> Any:
    """Start a container and wait for its result; see :func:`start_container`."""
    return await current().start_activity(_container_request(image, result_type, options))


def _container_request(
    image: str, result_type: type | None, options: ContainerConfig
) -> ActivityRequest:
    check_options(options, ContainerConfig, what="a container")
    if not image:
        raise UsageError("a container needs an image: workflow.execute_container('busybox', ...)")
    values = options.get("input", ())
    if isinstance(values, (str, bytes, Mapping)):
        raise UsageError(f"input of container {image!r} is {values!r}: give a list of arguments")
    return timed_request(
        options.get("name") or image_name(image),
        tuple(values),
        result_type,
        cast("ActivityConfig", _only(options, ActivityConfig)),
        placement=Placement(container=True, template=_template(image, options)),
    )


def _template(image: str, options: ContainerConfig) -> dict[str, Any]:
    template = Pod(image=image, **_only(options, Pod)).to_template()
    for what, words in (("command", options.get("command", ())), ("args", options.get("args", ()))):
        if isinstance(words, str) or not all(isinstance(word, str) for word in words):
            raise UsageError(f"{what} of container {image!r} is {words!r}: give a list of strings")
        if words:
            template[what] = list(words)
    codes = list(options.get("non_retryable_exit_codes", ()))
    if not all(1 <= code <= _MAX_EXIT_CODE for code in codes):
        raise UsageError(f"non_retryable_exit_codes are {codes}: give numbers from 1 to 255")
    if codes:
        template["nonRetryableExitCodes"] = codes
    return template


def _only(options: Mapping[str, Any], known: type) -> dict[str, Any]:
    """Return the options that ``known`` has."""
    return {name: value for name, value in options.items() if name in known.__annotations__}


def image_name(image: str) -> str:
    """Return what an image is called, without registry, tag and digest."""
    last = image.partition("@")[0].rpartition("/")[2]
    return last.partition(":")[0] or image
