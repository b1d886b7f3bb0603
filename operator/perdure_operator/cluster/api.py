"""The Kubernetes API over the asyncio client: the one adapter of :class:`Cluster`.

It works on addresses and dictionaries instead of the client's generated classes: nothing needs
to be discovered, an unknown field of a newer API server survives, and an object costs no more
than its JSON.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
from kubernetes.aio.client import ApiClient, Configuration
from kubernetes.aio.config import load_incluster_config, load_kube_config

from perdure_operator.cluster.errors import (
    ClusterError,
    ConflictError,
    InvalidError,
    UnavailableError,
    error_for_status,
)
from perdure_operator.cluster.kinds import ObjectKind, ObjectRef
from perdure_operator.cluster.limiter import RateLimiter
from perdure_operator.cluster.port import Manifest
from perdure_operator.cluster.reviews import (
    ACCESS_REVIEW,
    TOKEN_REVIEW,
    Identity,
    ReviewKind,
    Right,
    RightVerdict,
    TokenVerdict,
    access_spec,
    local_access_review,
    read_access_status,
    read_token_status,
    token_spec,
)
from perdure_operator.cluster.tickets import is_ticket, read_ticket, ticket_path

FIELD_MANAGER = "perdure-operator"
"""Whose fields these are, for server-side apply."""

TIMEOUT = 30.0
"""Seconds that one call may take; nothing here streams."""

MAX_PAUSE = 30.0
"""The most that a 429 holds up further calls, in seconds, whatever it asks for."""

WATCH_SECONDS = 240
"""After so many seconds the API server ends a watch of names, and it is begun anew."""

_JSON = "application/json"
_NAMES_ONLY = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
_WRITES = frozenset({"create", "apply", "apply_status", "release", "delete"})
_APPLY = "application/apply-patch+yaml"
_PATCH = "application/json-patch+json"
_TOKEN = Path("/var/run/secrets/kubernetes.io/serviceaccount/token")

CallObserver = Callable[[str, str, int, float], None]
"""Told of every call: verb, the kind's plural, HTTP status (0: no answer), and seconds taken."""


def is_in_cluster() -> bool:
    """Tell whether this process runs in a pod with a ServiceAccount's token."""
    return _TOKEN.exists()


async def load_configuration(kubeconfig: Path | None = None) -> Configuration:
    """Return how to reach the API server: by a file, as a pod does, or as kubectl does."""
    configuration = Configuration()
    if kubeconfig is None and is_in_cluster():
        load_incluster_config(configuration)  # type: ignore[no-untyped-call] # it has no types
    else:
        await load_kube_config(  # type: ignore[no-untyped-call] # likewise
            config_file=None if kubeconfig is None else str(kubeconfig),
            client_configuration=configuration,
            persist_config=False,
        )
    # Left to itself the client looks for a proxy, and in a file for passwords, at every request.
    host = urlsplit(configuration.host).hostname or ""
    behind_proxy = bool(getproxies()) and not proxy_bypass(host)
    configuration.client_session_kwargs = {"trust_env": behind_proxy}
    return configuration


@dataclass(frozen=True, slots=True, kw_only=True)
class _Request:
    """One call, before it is sent."""

    verb: str
    kind: str = ""
    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    body: Manifest | list[Manifest] | None = None
    content_type: str = _JSON
    accept: str = _JSON

    def __str__(self) -> str:
        return f"{self.verb} {self.path}"


class KubernetesCluster:
    """The cluster that a configuration leads to."""

    def __init__(
        self,
        configuration: Configuration,
        *,
        limiter: RateLimiter,
        observe: CallObserver = lambda _verb, _kind, _status, _seconds: None,
        may_write: Callable[[str], None] = lambda _request: None,
        timeout: float = TIMEOUT,
    ) -> None:
        """``may_write`` is asked when a change is about to be sent, and raises what forbids it."""
        self._client: Any = ApiClient(configuration)
        self._client.user_agent = FIELD_MANAGER
        self._limiter = limiter
        self._observe = observe
        self._may_write = may_write
        self._timeout = timeout

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._client.close()

    async def serves(self, group: str, version: str) -> frozenset[str]:
        """Return the plurals of the kinds that the API server has in this version of a group."""
        request = _Request(verb="discover", method="GET", path=f"/apis/{group}/{version}")
        found = await self._call(request, missing_ok=True)
        return frozenset(resource["name"] for resource in (found or {}).get("resources", ()))

    async def get(self, kind: ObjectKind, ref: ObjectRef) -> Manifest | None:
        """See :meth:`Cluster.get`."""
        path = kind.path(ref.namespace, ref.name)
        request = _Request(verb="get", kind=kind.plural, method="GET", path=path)
        return await self._call(request, missing_ok=True)

    async def list(
        self, kind: ObjectKind, namespace: str, *, labels: Mapping[str, str]
    ) -> list[Manifest]:
        """See :meth:`Cluster.list`."""
        selector = ",".join(f"{name}={value}" for name, value in sorted(labels.items()))
        request = _Request(
            verb="list",
            kind=kind.plural,
            method="GET",
            path=kind.path(namespace),
            query={"labelSelector": selector},
        )
        found = await self._call(request) or {}
        return list(found.get("items", ()))

    async def create(self, kind: ObjectKind, manifest: Manifest) -> Manifest:
        """See :meth:`Cluster.create`."""
        request = _Request(
            verb="create",
            kind=kind.plural,
            method="POST",
            path=kind.path(manifest["metadata"]["namespace"]),
            # A field that there is not is a mistake in somebody's template: it must not go unsaid.
            query={"fieldManager": FIELD_MANAGER, "fieldValidation": "Strict"},
            body=manifest,
        )
        return await self._call(request) or {}

    async def apply(self, kind: ObjectKind, manifest: Manifest) -> Manifest:
        """See :meth:`Cluster.apply`."""
        return await self._apply("apply", kind, manifest)

    async def apply_status(self, kind: ObjectKind, manifest: Manifest) -> Manifest:
        """See :meth:`Cluster.apply_status`."""
        return await self._apply("apply_status", kind, manifest, subresource="status")

    async def release(
        self, kind: ObjectKind, ref: ObjectRef, *, uid: str, finalizer: str, position: int
    ) -> Manifest:
        """See :meth:`Cluster.release`."""
        path = f"/metadata/finalizers/{position}"
        request = _Request(
            verb="release",
            kind=kind.plural,
            method="PATCH",
            path=kind.path(ref.namespace, ref.name),
            query={"fieldManager": FIELD_MANAGER},
            body=[
                {"op": "test", "path": "/metadata/uid", "value": uid},
                {"op": "test", "path": path, "value": finalizer},
                {"op": "remove", "path": path},
            ],
            content_type=_PATCH,
        )
        try:
            return await self._call(request) or {}
        except InvalidError as error:
            # That is how the API server says that a test has failed.
            raise ConflictError(str(request), error.message) from error

    async def delete(self, kind: ObjectKind, ref: ObjectRef, *, uid: str) -> None:
        """See :meth:`Cluster.delete`."""
        request = _Request(
            verb="delete",
            kind=kind.plural,
            method="DELETE",
            path=kind.path(ref.namespace, ref.name),
            body={"propagationPolicy": "Background", "preconditions": {"uid": uid}},
        )
        await self._call(request, missing_ok=True)

    async def watch_names(self, kind: ObjectKind, namespace: str) -> AsyncIterator[str]:
        """Yield names of the namespace's objects: of all there are, then of those that change.

        What is in them is neither sent nor kept. It ends now and then; beginning anew tells all
        names again, so that nothing is missed in between.
        """
        request = _Request(
            verb="watch",
            kind=kind.plural,
            method="GET",
            path=kind.path(namespace),
            query={"watch": "true", "timeoutSeconds": str(WATCH_SECONDS)},
            accept=_NAMES_ONLY,
        )
        await self._limiter.wait()
        try:
            answer = await self._open(request, timeout=WATCH_SECONDS + self._timeout)
            async with answer.response as response:
                if response.status >= 400:
                    raise _refusal(response.status, str(request), await response.read())
                async for line in _lines(response.content):
                    event = json.loads(line)
                    if event["type"] == "ERROR":
                        return
                    yield event["object"]["metadata"]["name"]
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            reason = f"the watch was broken off ({type(error).__name__}: {error})"
            raise UnavailableError(str(request), reason) from error

    async def review_token(self, token: str, audience: str) -> TokenVerdict:
        """See :meth:`Reviewer.review_token`."""
        if is_ticket(token):
            return await self._review_ticket(token)
        status = await self._review(TOKEN_REVIEW, token_spec(token, audience))
        return read_token_status(status, audience)

    async def _review_ticket(self, ticket: str) -> TokenVerdict:
        path, kind = ticket_path(ticket), "certificatesigningrequests"
        request = _Request(verb="get", kind=kind, method="GET", path=path)
        return read_ticket(await self._call(request, missing_ok=True), datetime.now(UTC))

    async def review_right(self, identity: Identity, right: Right) -> RightVerdict:
        """See :meth:`Reviewer.review_right`."""
        return read_access_status(await self._review(ACCESS_REVIEW, access_spec(identity, right)))

    async def review_right_in(
        self, namespace: str, identity: Identity, right: Right
    ) -> RightVerdict:
        """Return whether somebody may do something in a namespace, asked with a Role there."""
        kind = local_access_review(namespace)
        return read_access_status(await self._review(kind, access_spec(identity, right)))

    async def read(self, path: str) -> Manifest:
        """Return the document at an address that is no object's."""
        # Keys have a media type of their own, and the API server insists on it.
        request = _Request(verb="get", method="GET", path=path, accept="*/*")
        return await self._call(request) or {}

    async def _review(self, kind: ReviewKind, spec: Manifest) -> Manifest:
        request = _Request(
            verb="review", kind=kind.plural, method="POST", path=kind.path, body=kind.body(spec)
        )
        found = await self._call(request) or {}
        status: Manifest = found.get("status") or {}
        return status

    async def _apply(
        self, verb: str, kind: ObjectKind, manifest: Manifest, *, subresource: str = ""
    ) -> Manifest:
        metadata = manifest["metadata"]
        request = _Request(
            verb=verb,
            kind=kind.plural,
            method="PATCH",
            path=kind.path(metadata["namespace"], metadata["name"], subresource=subresource),
            # Our fields are ours alone, so whoever else took one is overruled.
            query={"fieldManager": FIELD_MANAGER, "force": "true"},
            body=manifest,
            content_type=_APPLY,
        )
        return await self._call(request) or {}

    async def _call(self, request: _Request, *, missing_ok: bool = False) -> Manifest | None:
        """Send a request and read the answer; None for a 404 that is fine."""
        await self._limiter.wait()
        if request.verb in _WRITES:
            self._may_write(str(request))
        began = perf_counter()
        try:
            status, headers, text = await self._send(request)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            self._observe(request.verb, request.kind, 0, perf_counter() - began)
            reason = f"the API server was not reached ({type(error).__name__}: {error})"
            raise UnavailableError(str(request), reason) from error

        self._observe(request.verb, request.kind, status, perf_counter() - began)
        if status == 404 and missing_ok:
            return None
        if status == 429:
            self._limiter.pause(_retry_after(headers))
        if status >= 400:
            raise _refusal(status, str(request), text)
        found: Manifest = json.loads(text)
        return found

    async def _send(self, request: _Request) -> tuple[int, Mapping[str, str], bytes]:
        response = await self._open(request, timeout=self._timeout)
        return response.status, response.headers, await response.read()

    async def _open(self, request: _Request, *, timeout: float) -> Any:
        serialized = await self._client.param_serialize(
            request.method,
            request.path,
            query_params=list(request.query.items()),
            header_params={"Accept": request.accept, "Content-Type": request.content_type},
            body=request.body,
            auth_settings=["BearerToken"],
        )
        return await self._client.call_api(*serialized, _request_timeout=timeout)


def _retry_after(headers: Mapping[str, str]) -> float:
    """Return for how many seconds the API server wants to be left alone."""
    try:
        return min(MAX_PAUSE, max(0.0, float(headers.get("Retry-After", ""))))
    except ValueError:
        return 1.0


async def _lines(content: aiohttp.StreamReader) -> AsyncIterator[bytes]:
    """Yield lines however long: metadata can hold an annotation of 256 KiB."""
    rest = b""
    async for chunk in content.iter_any():
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            yield line


def _refusal(status: int, request: str, text: bytes) -> ClusterError:
    """Return the error for an answer of 400 or above, with the message the API server gave."""
    try:
        message = json.loads(text)["message"]
    except (ValueError, KeyError, TypeError):
        message = text[:500].decode(errors="replace")
    return error_for_status(status, request, f"{status} {message}")
