"""Which versions of a pool's code there are to be: written down, declared, kept, forgotten.

New runs go to the version that the pool has now. A run stays with the version that it has begun on,
so an older version is kept for as long as open runs are pinned to it. The order is what makes it
safe: a version is written down before it is declared, declared before a worker of it is made, and
forgotten by the server, which from then on sends nothing to it, before what is written down goes.

When several pools poll one task queue, none of them can say which version is the current one: then
versions are of no account, and any worker takes anything.
"""

from __future__ import annotations

from perdure.protocol.verbs import SetCurrentVersionRequest
from perdure_operator.cluster import CONFIG_MAPS, CONTROLLER_REVISIONS
from perdure_operator.controllers.actions import (
    Action,
    CreateObject,
    DeclareVersions,
    NameTaken,
    VersionsDeclared,
)
from perdure_operator.controllers.pools.observing import PoolView
from perdure_operator.controllers.pools.revisions import (
    RevisionFacts,
    build_copy,
    build_revision,
)
from perdure_operator.controllers.pools.templates import WorkerTemplate
from perdure_operator.model import Versioning


def plan_record(view: PoolView, template: WorkerTemplate) -> list[Action]:
    """Return what is missing of what is written down of the current version, one at a time."""
    revision = _find(view, template.version)
    if revision is None:
        manifest = build_revision(
            template, code=view.code, defaults=view.defaults, others=view.revisions
        )
        return _create_once(view, CreateObject(kind=CONTROLLER_REVISIONS, manifest=manifest))
    if view.code is not None and not revision.has_code:
        manifest = build_copy(template, view.code, revision)
        return _create_once(view, CreateObject(kind=CONFIG_MAPS, manifest=manifest))
    return []


def is_recorded(view: PoolView, template: WorkerTemplate) -> bool:
    """Tell whether all is written down that workers of the current version need."""
    revision = _find(view, template.version)
    return revision is not None and (view.code is None or revision.has_code)


def is_declared(view: PoolView, template: WorkerTemplate) -> bool:
    """Tell whether the server sends runs only to versions that are needed, as far as is known."""
    return told(view)[0] == template.version


def plan_declaration(view: PoolView, template: WorkerTemplate) -> list[Action]:
    """Return what the server is to be told, if it does not know."""
    current = "" if view.is_shared else template.version
    kept = tuple(each.version for each in kept_revisions(view, template))
    if told(view) == (current, kept):
        return []
    request = SetCurrentVersionRequest(
        namespace=view.pool.metadata.namespace,
        task_queue=view.pool.task_queue,
        build_id=current,
        kept=kept,
    )
    return [DeclareVersions(request=request)]


def plan_forgetting(view: PoolView, template: WorkerTemplate) -> list[Action]:
    """Return the removal of what is needed no more; the server has forgotten it by then."""
    needed = {template.version, *(each.version for each in kept_revisions(view, template))}
    return [each.delete() for each in view.revisions if each.version not in needed]


def kept_revisions(view: PoolView, template: WorkerTemplate) -> list[RevisionFacts]:
    """Return the older versions that open runs still need, the newest first."""
    if view.is_shared or view.pool.spec.versioning is Versioning.AUTO_UPGRADE:
        return []
    older = (
        each
        for each in view.revisions
        if each.version != template.version
        and each.is_usable
        and not is_drained(view, template, each.version)
    )
    return sorted(older, key=lambda each: (-each.number, each.version))


def is_drained(view: PoolView, template: WorkerTemplate, version: str) -> bool:
    """Tell whether nothing can need an older version any more.

    No open run is pinned to it, and as another one is current, none can come to be, unless one of
    its workers is at the very first task of a run: that is why what they hold counts.
    """
    if view.queue is None or view.queue.current != template.version or view.holds is not None:
        return False
    found = view.version(version)
    return found is None or not (found.open_runs or found.backlog or found.held)


def told(view: PoolView) -> tuple[str, tuple[str, ...]]:
    """Return what the server knows: the current version and those that are kept."""
    for outcome in reversed(view.outcomes):
        if isinstance(outcome, VersionsDeclared):
            return outcome.request.build_id, outcome.request.kept
    return ("", ()) if view.queue is None else (view.queue.current, view.queue.kept)


def _find(view: PoolView, version: str) -> RevisionFacts | None:
    return next((each for each in view.revisions if each.version == version), None)


def _create_once(view: PoolView, action: CreateObject) -> list[Action]:
    """Return the creation, unless the name was found to be taken: somebody else has it then."""
    name = action.manifest["metadata"]["name"]
    was_taken = any(
        isinstance(each, NameTaken) and (each.kind, each.name) == (action.kind, name)
        for each in view.outcomes
    )
    return [] if was_taken else [action]
