"""kopf's part: it watches, and tells the intake. It writes nothing to any object.

Only ``on.event`` handlers: no finalizers, no annotations, no progress of kopf's in the objects.
An error in such a handler would be logged and forgotten, so all they do is take a note.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import chain, repeat
from typing import Any

import kopf

from perdure_operator.cluster import (
    ACTIVITIES,
    JOBS,
    PODS,
    SCHEDULES,
    WORKER_POOLS,
    WORKFLOWS,
    Manifest,
    ObjectKind,
)
from perdure_operator.controllers.intake import Intake
from perdure_operator.controllers.pools.templates import MANAGER

OURS = f"app.kubernetes.io/managed-by={MANAGER}"


class EndlessBackoffs:
    """Seconds between tries of kopf's: an API server that is away for hours is waited for."""

    def __iter__(self) -> Iterator[float]:
        """Yield the waits, for ever."""
        return chain((1.0, 1.0, 2.0, 3.0, 5.0, 8.0), repeat(10.0))


CHUNK = 500
"""Objects a page, when all of a kind are listed."""


def build_registry(intake: Intake, *, in_cluster: bool) -> kopf.OperatorRegistry:
    """Return the handlers that feed the intake."""
    registry = kopf.OperatorRegistry()
    login = kopf.login_with_service_account if in_cluster else kopf.login_with_kubeconfig

    @kopf.on.login(registry=registry)
    def log_in(**kwargs: Any) -> kopf.ConnectionInfo | None:
        return login(**kwargs)

    for kind in (WORKFLOWS, ACTIVITIES):
        _watch_runs(registry, intake, kind)

    @kopf.on.event(WORKER_POOLS.group, WORKER_POOLS.version, WORKER_POOLS.plural, registry=registry)
    async def on_pool(type: str | None, body: kopf.Body, **_: Any) -> None:  # noqa: A002 - kopf's
        intake.notice_pool(type, _plain(body))

    @kopf.on.event(SCHEDULES.group, SCHEDULES.version, SCHEDULES.plural, registry=registry)
    async def on_schedule(type: str | None, body: kopf.Body, **_: Any) -> None:  # noqa: A002 - kopf's
        intake.notice_schedule(type, _plain(body))

    for kind in (JOBS, PODS):
        _watch_owned(registry, intake, kind)
    return registry


def build_settings() -> kopf.OperatorSettings:
    """Return how kopf is to behave."""
    settings = kopf.OperatorSettings()
    settings.posting.enabled = False
    settings.peering.standalone = True
    # The kinds are waited for before kopf starts, so it need not watch CRDs and namespaces: that
    # would take rights on the whole cluster.
    settings.scanning.disabled = True
    settings.watching.chunk_size = CHUNK
    settings.persistence.diffbase_storage = NoDiffs()
    # Each object that was just heard of has a task until then: after a listing, all of them.
    settings.queueing.idle_timeout = 1.0
    settings.networking.error_backoffs = EndlessBackoffs()
    # An operator that stands by again after it has led must not be killed for it.
    settings.process.ultimate_exiting_timeout = None
    for kind in (JOBS, PODS):
        settings.watching.label_selectors[kind.group, kind.version, kind.plural] = OURS
    return settings


class NoDiffs(kopf.DiffBaseStorage):
    """Finds no object changed: nothing here asks, and finding out copies each object whole."""

    def build(self, **_: Any) -> kopf.BodyEssence:
        """Return what is compared of an object: nothing."""
        return kopf.BodyEssence()

    def fetch(self, **_: Any) -> None:
        """Return what an object was like when it was last handled: it was not."""

    def store(self, **_: Any) -> None:
        """Remember that an object was handled: never."""


def _watch_runs(registry: kopf.OperatorRegistry, intake: Intake, kind: ObjectKind) -> None:
    @kopf.on.event(kind.group, kind.version, kind.plural, registry=registry, id=kind.plural)
    async def on_run(type: str | None, body: kopf.Body, **_: Any) -> None:  # noqa: A002 - kopf's
        intake.notice_run(kind, type, _plain(body))


def _watch_owned(registry: kopf.OperatorRegistry, intake: Intake, kind: ObjectKind) -> None:
    @kopf.on.event(kind.group, kind.version, kind.plural, registry=registry, id=kind.plural)
    async def on_owned(body: kopf.Body, **_: Any) -> None:
        intake.notice_owned(_plain(body))


def _plain(body: Mapping[str, Any]) -> Manifest:
    """Return an object without what only the API server needs."""
    metadata = dict(body["metadata"])
    metadata.pop("managedFields", None)
    return {**body, "metadata": metadata}
