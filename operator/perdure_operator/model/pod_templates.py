"""What may be laid over the operator's pods: checks that the API server cannot make for us.

A template has every field that a pod has, now or in a later Kubernetes, so the definition leaves
it open. What is checked is what the operator itself relies on: that named things have names, and
that nothing is asked for which would break how it counts and ends workers.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

_NAMED_LISTS = ("containers", "initContainers", "volumes")
_OF_METADATA = frozenset({"labels", "annotations"})
_OURS = "perdure.dev/"

_REFUSED = {
    "activeDeadlineSeconds": (
        "it would kill workers in the middle of their tasks: limit the tasks instead "
        "(start_to_close_timeout), or the workers' idle time (scaling.idleAfter)"
    ),
    "ephemeralContainers": "these are for kubectl debug alone",
}


def check_pod_template(template: Any) -> Any:
    """Return the template.

    Raises:
        ValueError: it cannot be laid over a pod; the message says which field, and why.
    """
    if template is None:
        return template
    for problem in _problems(template):
        raise ValueError(problem)
    return template


def _problems(template: Any) -> Iterator[str]:
    for field, value in template.items():
        if field not in {"metadata", "spec"}:
            yield f"{field} is no part of a pod template: it has metadata and spec"
        elif not isinstance(value, dict):
            yield f"{field} must be an object"
    yield from _problems_of_metadata(template.get("metadata", {}))
    yield from _problems_of_spec(template.get("spec", {}))


def _problems_of_metadata(metadata: dict[str, Any]) -> Iterator[str]:
    for field, value in metadata.items():
        if field not in _OF_METADATA:
            yield f"metadata.{field} cannot be set: it has labels and annotations"
        elif not isinstance(value, dict) or not all(isinstance(v, str) for v in value.values()):
            yield f'metadata.{field} must be texts by name: quote numbers, as in "1"'
        else:
            ours = [name for name in value if name.startswith(_OURS)]
            if ours:
                yield f"metadata.{field} {ours[0]!r} is the operator's own: leave it away"


def _problems_of_spec(spec: dict[str, Any]) -> Iterator[str]:
    for field in spec.keys() & _REFUSED.keys():
        yield f"spec.{field} cannot be set: {_REFUSED[field]}"
    if spec.get("restartPolicy", "Never") != "Never":
        yield (
            f"spec.restartPolicy cannot be {spec['restartPolicy']!r}: a worker that ends is "
            "followed by another pod, so leave it away"
        )
    for field in _NAMED_LISTS:
        if field in spec:
            yield from _problems_of_named(f"spec.{field}", spec[field])
    for container in spec.get("containers", ()):
        yield from _problems_of_container(container)


def _problems_of_named(where: str, found: Any) -> Iterator[str]:
    if not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
        yield f"{where} must be a list of objects, each with a name"
        return
    names = [each.get("name") for each in found]
    if not all(isinstance(name, str) and name for name in names):
        yield f"{where}: each needs a name, by which it is laid over the one that there is"
    twice = [name for place, name in enumerate(names) if name in names[:place]]
    if twice:
        yield f"{where} has {twice[0]!r} twice"


def _problems_of_container(container: dict[str, Any]) -> Iterator[str]:
    where = f"spec.containers {container.get('name')!r}"
    for field in ("args", "command"):
        words = container.get(field, [])
        if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
            yield f"{where}: {field} must be a list of texts"
    for field in ("env", "volumeMounts"):
        found = container.get(field, [])
        if not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
            yield f"{where}: {field} must be a list of objects"
