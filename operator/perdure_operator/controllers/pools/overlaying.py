"""Laying a user's pod template over the operator's.

Objects are merged field by field. Lists of named things (containers, volumes, environment
variables) are merged by name, mounts by their path; any other list replaces the one below. That
is what ``kubectl patch`` does by default, for the lists that pods have.
"""

from __future__ import annotations

from typing import Any

from perdure_operator.cluster import Manifest

_KEYS = ("name", "mountPath", "topologyKey")


def overlay(below: Manifest, above: Manifest) -> Manifest:
    """Return ``below`` with everything that ``above`` says; None takes a field away."""
    merged = dict(below)
    for field, value in above.items():
        if value is None:
            merged.pop(field, None)
        else:
            merged[field] = _overlay_value(merged.get(field), value)
    return merged


def _overlay_value(below: Any, above: Any) -> Any:
    if isinstance(below, dict) and isinstance(above, dict):
        return overlay(below, above)
    if isinstance(below, list) and isinstance(above, list):
        key = _common_key(below, above)
        return _overlay_list(below, above, key) if key else above
    return above


def _common_key(below: list[Any], above: list[Any]) -> str | None:
    """Return the field that tells the elements of both lists apart, if there is one."""
    for key in _KEYS:
        if all(isinstance(each, dict) and key in each for each in (*below, *above)):
            # Two mounts of one volume have one name, so the name does not tell them apart.
            is_mount = key == "name" and any("mountPath" in each for each in (*below, *above))
            if not is_mount:
                return key
    return None


def _overlay_list(below: list[Any], above: list[Any], key: str) -> list[Any]:
    merged = {each[key]: each for each in below}
    for each in above:
        merged[each[key]] = overlay(merged.get(each[key], {}), each)
    return list(merged.values())
