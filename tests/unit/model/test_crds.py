"""The CRDs that are made of the models."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any

import pytest
import yaml
from pydantic import BaseModel, Field

from perdure_operator.model import KINDS, WORKFLOW, ResourceKind
from perdure_operator.model.crds import build_crd, build_schema, main, render_files
from perdure_operator.model.fields import PositiveDuration, SpecModel
from perdure_operator.model.resources import NOT_OBSERVED
from perdure_operator.model.structural import KEPT, Schema, SchemaError, build_structural_schema

ROOT = Path(__file__).parents[3]
SIZE_LIMIT = 250 * 1024

each_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)


def walk(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield every schema in ``schema`` with its path."""
    yield path, schema
    for name, field in schema.get("properties", {}).items():
        yield from walk(field, f"{path}.{name}")
    if "items" in schema:
        yield from walk(schema["items"], f"{path}[]")


def at(schema: dict[str, Any], path: str) -> dict[str, Any]:
    return dict(walk(schema))[path]


def test_the_files_that_are_checked_in_are_fresh(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--check", str(ROOT / "crds")]) == 0, capsys.readouterr().err


@pytest.mark.parametrize("damage", ["changed", "missing", "foreign"])
def test_a_stale_file_is_named_and_then_put_right(
    damage: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main([str(tmp_path)])
    name = {"foreign": "others.perdure.dev.yaml"}.get(damage, "workflows.perdure.dev.yaml")
    if damage == "missing":
        (tmp_path / name).unlink()
    else:
        (tmp_path / name).write_text("kind: Other\n")

    assert main(["--check", str(tmp_path)]) == 1
    assert name in capsys.readouterr().err

    main([str(tmp_path)])
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == render_files()


@each_kind
def test_every_field_has_a_description(kind: ResourceKind) -> None:
    missing = [
        path
        for path, schema in walk(build_schema(kind))
        if not path.endswith("[]") and path != ".metadata" and not schema.get("description")
    ]

    assert missing == []


@each_kind
def test_every_schema_has_a_type_or_holds_any_json(kind: ResourceKind) -> None:
    for path, schema in walk(build_schema(kind)):
        assert "type" in schema or schema["x-kubernetes-preserve-unknown-fields"], path


@each_kind
def test_only_words_of_structural_schemas_are_used(kind: ResourceKind) -> None:
    allowed = KEPT | {"properties", "items", "additionalProperties"}
    for path, schema in walk(build_schema(kind)):
        strange = {word for word in schema if word not in allowed and not word.startswith("x-")}
        assert not strange, path


@each_kind
def test_every_list_and_text_is_bounded(kind: ResourceKind) -> None:
    for path, schema in walk(build_schema(kind)):
        match schema.get("type"):
            case "array":
                assert "maxItems" in schema, path
            case "string" if path not in (".apiVersion", ".kind"):
                assert {"maxLength", "enum", "format"} & set(schema), path
            case _:
                pass


@each_kind
def test_every_rule_says_what_is_wrong(kind: ResourceKind) -> None:
    for path, schema in walk(build_schema(kind)):
        for rule in schema.get("x-kubernetes-validations", []):
            assert len(rule["message"]) > 20, path
            field = rule.get("fieldPath", "").removeprefix(".")
            assert not field or field in schema["properties"], path


@each_kind
def test_a_status_has_no_defaults_for_it_is_what_was_written(kind: ResourceKind) -> None:
    status = build_schema(kind)["properties"]["status"]

    # But for what says that nothing was written yet.
    assert status.pop("default") == {"observedGeneration": NOT_OBSERVED}
    assert [path for path, schema in walk(status) if "default" in schema] == []


@each_kind
def test_defaults_are_never_null_and_durations_are_readable(kind: ResourceKind) -> None:
    for path, schema in walk(build_schema(kind)):
        if "default" in schema:
            assert "null" not in yaml.safe_dump(schema["default"]), path
            if "pattern" in schema:
                assert re.fullmatch(schema["pattern"], schema["default"]), path


@each_kind
def test_conditions_are_merged_by_their_type(kind: ResourceKind) -> None:
    conditions = at(build_schema(kind), ".status.conditions")

    assert conditions["x-kubernetes-list-type"] == "map"
    assert conditions["x-kubernetes-list-map-keys"] == ["type"]
    assert set(conditions["items"]["required"]) == {
        "type",
        "status",
        "reason",
        "lastTransitionTime",
    }


@each_kind
def test_every_file_is_far_below_what_an_annotation_can_hold(kind: ResourceKind) -> None:
    text = render_files()[f"{kind.crd_name}.yaml"]

    assert len(text.encode()) < SIZE_LIMIT / 4


@each_kind
def test_columns_and_selectable_fields_point_at_fields_that_exist(kind: ResourceKind) -> None:
    paths = {path for path, _ in walk(build_schema(kind))} | {".metadata.creationTimestamp"}
    wanted = [column.path for column in kind.columns] + list(kind.selectable)
    wanted += (kind.scale or {}).values()

    assert [re.sub(r"\[\?.*\]", "[]", path) for path in wanted if "phase" in path]
    assert [path for path in wanted if re.sub(r"\[(\?.*|0)\]", "[]", path) not in paths] == []


@each_kind
def test_every_kind_has_a_status_and_belongs_to_the_category(kind: ResourceKind) -> None:
    crd = build_crd(kind)
    (version,) = crd["spec"]["versions"]

    scale = {"scale": kind.scale} if kind.name == "WorkerPool" else {}
    assert version["subresources"] == {"status": {}, **scale}
    assert crd["spec"]["names"]["categories"] == ["perdure"]
    assert crd["spec"]["names"]["singular"] == kind.name.lower()
    assert crd["metadata"]["name"] == f"{kind.plural}.perdure.dev"


def test_short_names_are_not_shared_nor_those_of_other_projects() -> None:
    names = [name for kind in KINDS for name in kind.short_names]

    assert len(names) == len(set(names))
    assert not set(names) & {"wf", "act", "wp"}


MUTABLE = {
    "Workflow": {
        *("suspend", "cancel", "signals", "retries"),
        *("ttlSecondsAfterFinished", "deletionPolicy"),
    },
    "Activity": {"cancel", "ttlSecondsAfterFinished"},
}


@pytest.mark.parametrize(
    "kind", [kind for kind in KINDS if kind.name in MUTABLE], ids=lambda kind: kind.name
)
def test_every_field_of_a_run_is_either_mutable_or_guarded_by_a_rule(kind: ResourceKind) -> None:
    spec = build_schema(kind)["properties"]["spec"]
    at_fields = {name for name, field in spec["properties"].items() if guarded_by(field)}
    hidden, at_spec = guarded_by(spec, "self == oldSelf ||"), guarded_by(spec, "has(self.")
    always_there = {name for name, field in spec["properties"].items() if "default" in field}

    assert at_fields | hidden == set(spec["properties"]) - MUTABLE[kind.name]
    # A rule at a field is not checked when the field comes or goes.
    assert at_fields - at_spec == at_fields & (always_there | set(spec.get("required", ())))


def guarded_by(schema: Schema, beginning: str = "") -> set[str]:
    """Return the fields that rules at this place keep from being changed."""
    return {
        field
        for rule in schema.get("x-kubernetes-validations", ())
        if "cannot be changed: " in rule["message"] and rule["rule"].startswith(beginning)
        for field in rule["message"].partition(" cannot be changed")[0].split(" and ")
    }


def test_defaults_of_the_spec_are_those_of_the_design() -> None:
    schema = build_schema(WORKFLOW)

    assert at(schema, ".spec.timeouts")["default"] == {}
    assert at(schema, ".spec.deletionPolicy")["default"] == "Cancel"
    assert at(schema, ".spec.worker.slots")["default"] == 100
    assert at(schema, ".spec.worker.scaling")["default"] == {"min": 0, "max": 20, "idleAfter": "1m"}
    assert "default" not in at(schema, ".spec.ttlSecondsAfterFinished")


class Inner(SpecModel):
    """Something inside."""

    delay: PositiveDuration = timedelta(minutes=90)
    """How long."""
    name: str | None = None
    """Whose."""


class Outer(SpecModel):
    """Something outside."""

    inner: Inner = Inner()
    """What is inside."""


def test_references_unions_with_null_and_titles_are_gone() -> None:
    inner = build_structural_schema(Outer)["properties"]["inner"]

    assert inner["description"] == "What is inside."
    assert inner["default"] == {"delay": "1h30m"}
    assert inner["properties"]["name"] == {"description": "Whose.", "type": "string"}
    assert inner["properties"]["delay"]["default"] == "1h30m"


class WithUnion(BaseModel):
    value: int | str


class WithExclusiveBound(BaseModel):
    value: Annotated[int, Field(gt=0)]


@pytest.mark.parametrize(
    ("model", "words"),
    [(WithUnion, "no unions"), (WithExclusiveBound, "no word 'exclusiveMinimum'")],
)
def test_what_a_structural_schema_cannot_say_is_refused(model: type[BaseModel], words: str) -> None:
    with pytest.raises(SchemaError, match=words):
        build_structural_schema(model)
