"""Writes the CRDs: ``python -m perdure_operator.model.crds [--check] [--chart] DIR``.

``crds/`` holds them for kubectl; the chart's templates hold the same text behind a switch, with the
annotation that makes Helm keep them. Both are generated and checked in; ``--check`` tells whether
they are as fresh as the models.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from perdure_operator.model.kinds import KINDS, Column, ResourceKind
from perdure_operator.model.resources import GROUP, NOT_OBSERVED, VERSION
from perdure_operator.model.structural import Schema, build_structural_schema

_HEADER = "# Generated from perdure_operator.model by python -m perdure_operator.model.crds\n"
_TOGGLE = "{{- if .Values.crds.install }}\n", "{{- end }}\n"
_KEEP = "  annotations:\n    helm.sh/resource-policy: keep\n"

_STANDARD_FIELDS: dict[str, Schema] = {
    "apiVersion": {
        "description": "The group and version of this object's schema.",
        "type": "string",
    },
    "kind": {"description": "The kind of this object.", "type": "string"},
    # The API server describes it by itself, and accepts no description here.
    "metadata": {"type": "object"},
}


def build_crd(kind: ResourceKind) -> dict[str, Any]:
    """Return the CustomResourceDefinition of ``kind``."""
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": kind.crd_name},
        "spec": {
            "group": GROUP,
            "names": {
                "kind": kind.name,
                "listKind": f"{kind.name}List",
                "plural": kind.plural,
                "singular": kind.singular,
                "shortNames": list(kind.short_names),
                "categories": ["perdure"],
            },
            "scope": "Namespaced",
            "versions": [
                {
                    "name": VERSION,
                    "served": True,
                    "storage": True,
                    "schema": {"openAPIV3Schema": build_schema(kind)},
                    "subresources": {
                        "status": {},
                        **({"scale": dict(kind.scale)} if kind.scale else {}),
                    },
                    "selectableFields": [{"jsonPath": path} for path in kind.selectable],
                    "additionalPrinterColumns": [_build_column(c) for c in kind.columns],
                }
            ],
        },
    }


def build_schema(kind: ResourceKind) -> Schema:
    """Return the schema of a whole object of ``kind``."""
    whole = build_structural_schema(kind.model)
    spec = whole["properties"]["spec"]
    status = build_structural_schema(kind.model, defaults=False)["properties"]["status"]
    # Without it tools that go by kstatus take what nobody has looked at yet for finished.
    status["default"] = {"observedGeneration": NOT_OBSERVED}
    rules = whole.get("x-kubernetes-validations")
    return {
        "description": whole["description"],
        "type": "object",
        "properties": {**_STANDARD_FIELDS, "spec": spec, "status": status},
        "required": ["spec"],
        **({"x-kubernetes-validations": rules} if rules else {}),
    }


def render_crd(kind: ResourceKind) -> str:
    """Return the file in ``crds/``."""
    text = yaml.safe_dump(build_crd(kind), sort_keys=False, width=96, allow_unicode=True)
    return f"{_HEADER}{text}"


def render_template(kind: ResourceKind) -> str:
    """Return the chart's template: the file in ``crds/`` with a switch and the keep policy."""
    name = f"  name: {kind.crd_name}\n"
    before, after = render_crd(kind).split(name, maxsplit=1)
    return f"{_TOGGLE[0]}{before}{name}{_KEEP}{after}{_TOGGLE[1]}"


def render_files(*, chart: bool = False) -> dict[str, str]:
    """Return the text of every file by its name."""
    render = render_template if chart else render_crd
    return {f"{kind.crd_name}.yaml": render(kind) for kind in KINDS}


def find_stale(directory: Path, files: dict[str, str]) -> list[str]:
    """Return the names of the files that differ from ``files``, are missing, or do not belong."""
    found = {path.name: path.read_text(encoding="utf-8") for path in directory.glob("*.yaml")}
    return sorted(name for name in files | found if files.get(name) != found.get(name))


def main(arguments: Sequence[str] | None = None) -> int:
    """Write or check the files; return the process's exit code."""
    parser = argparse.ArgumentParser(prog="python -m perdure_operator.model.crds")
    parser.add_argument("directory", type=Path, metavar="DIR", help="where the CRDs are")
    parser.add_argument("--check", action="store_true", help="only tell whether they are fresh")
    parser.add_argument("--chart", action="store_true", help="write the chart's templates")
    options = parser.parse_args(arguments)

    files = render_files(chart=options.chart)
    stale = find_stale(options.directory, files)
    if options.check:
        for name in stale:
            sys.stderr.write(f"{options.directory / name} is not as the models have it\n")
        return 1 if stale else 0

    options.directory.mkdir(parents=True, exist_ok=True)
    for name in stale:
        path = options.directory / name
        if name in files:
            path.write_text(files[name], encoding="utf-8")
        else:
            path.unlink()
    return 0


def _build_column(column: Column) -> dict[str, Any]:
    return {
        "name": column.name,
        "type": column.type,
        "description": column.description,
        "jsonPath": column.path,
        **({"priority": 1} if column.wide else {}),
    }


if __name__ == "__main__":
    sys.exit(main())
