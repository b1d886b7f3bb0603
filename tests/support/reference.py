"""Writes the pages of the reference that follow from the code: ``docs/reference``.

``cli.md`` is made from the command line itself, ``manifests.md`` from the models behind the CRDs.
A test compares; ``PYTHONPATH=tests python -m support.reference`` writes them anew.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from enum import Enum
from pathlib import Path
from typing import Any

import typer.main

from perdure.cli.app import build_app
from perdure.cli.errors import EXIT_CODES
from perdure_operator.model import API_VERSION, KINDS, ConditionType, Reason, ResourceKind
from perdure_operator.model.conditions import ABNORMAL_TRUE
from perdure_operator.model.crds import build_schema

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "reference"
NOTE = "<!-- Written by `PYTHONPATH=tests python -m support.reference`; do not edit. -->"

Schema = dict[str, Any]


def pages() -> dict[str, str]:
    """Return the text of each page by its file's name."""
    made = {"cli.md": _cli(), "manifests.md": _manifests()}
    return {name: "\n".join(lines).rstrip() + "\n" for name, lines in made.items()}


# --- the command line --------------------------------------------------------------------------


def _cli() -> list[str]:
    group: Any = typer.main.get_command(build_app())
    lines = [
        "# Command line",
        "",
        NOTE,
        "",
        f"`perdure VERB`, and the same as `kubectl perdure VERB`. {group.help}",
        "",
        EXIT_CODES,
        "",
        "Messages go to standard error, results to standard output. `perdure VERB --help` says the",
        "same as this page.",
        "",
    ]
    for name, command in group.commands.items():
        # A verb of two words is a group of verbs.
        for inner, verb in getattr(command, "commands", {"": command}).items():
            lines += _verb(f"{name} {inner}".rstrip(), verb)
    return lines


def _verb(name: str, command: Any) -> Iterator[str]:
    arguments = [each for each in command.params if not each.opts[0].startswith("-")]
    options = [each for each in command.params if each.opts[0].startswith("-")]
    words = [each.metavar or each.name.upper() for each in arguments]
    yield from (f"## {name}", "", *command.help.splitlines(), "")
    yield from ("```sh", (command.epilog or "").removeprefix("Example: "), "```", "")
    yield f"`{' '.join(['perdure', name, *words, '[OPTIONS]'])}`"
    yield ""
    rows = [(f"`{each.metavar}`", each.help, "") for each in arguments]
    rows += [(_spelling(each), _option_text(each), _default(each)) for each in options]
    yield from _table(("option", "meaning", "default"), rows)


def _spelling(option: Any) -> str:
    return ", ".join(f"`{each}`" for each in option.opts)


def _option_text(option: Any) -> str:
    choices = ""
    if isinstance(option.default, Enum):
        choices = " " + ", ".join(f"`{each.value}`" for each in type(option.default)) + "."
    variable = f" Environment: `{option.envvar}`." if option.envvar else ""
    return f"{option.help}{choices}{variable}"


def _default(option: Any) -> str:
    if isinstance(option.show_default, str):
        return option.show_default
    default = option.default.value if isinstance(option.default, Enum) else option.default
    return "" if default in (None, "", False) else f"`{default}`"


# --- manifests ---------------------------------------------------------------------------------


def _manifests() -> list[str]:
    lines = [
        "# Manifests",
        "",
        NOTE,
        "",
        f"Every kind is of `apiVersion: {API_VERSION}` and namespaced. Durations are whole numbers",
        "with units, added up: `500ms`, `30s`, `5m`, `1h30m`, `30d`. `kubectl explain` shows the",
        "same descriptions.",
        "",
    ]
    for kind in KINDS:
        lines += _kind(kind)
    return [*lines, *_conditions()]


def _kind(kind: ResourceKind) -> Iterator[str]:
    schema = build_schema(kind)
    columns = ", ".join(each.name for each in kind.columns if not each.wide)
    wide = ", ".join(each.name for each in kind.columns if each.wide)
    yield from (f"## {kind.name}", "", schema["description"], "")
    names = ", ".join(f"`{each}`" for each in (kind.plural, kind.singular, *kind.short_names))
    yield f"`kubectl get` knows it as {names}. Columns: {columns}; with `-o wide` also {wide}."
    selectable = ", ".join(f"`{each.removeprefix('.')}`" for each in kind.selectable)
    yield from (f"Fields to select by (`--field-selector`): {selectable}.", "")
    for part in ("spec", "status"):
        yield from (f"### {kind.name} {part}", "")
        rows = list(_fields(schema["properties"][part], ""))
        yield from _table(("field", "type", "meaning"), rows)
    yield from (f"### {kind.name} rules", "")
    yield "The API server refuses what breaks one of these, with these words:"
    yield ""
    yield from (f"- {message}" for message in dict.fromkeys(_rules(schema)))
    yield ""


def _fields(schema: Schema, path: str) -> Iterator[tuple[str, str, str]]:
    required = set(schema.get("required", ()))
    for name, field in schema.get("properties", {}).items():
        here = f"{path}.{name}" if path else name
        mark = " (required)" if name in required else ""
        meaning = f"{field.get('description', '')}{_bounds(field)}"
        yield f"`{here}`{mark}", _type(field), meaning
        if here == "worker":
            continue  # It has the fields of a WorkerPool's spec.
        items = field.get("items", {})
        if "properties" in items:
            yield from _fields(items, f"{here}[]")
        yield from _fields(field, here)


def _type(field: Schema) -> str:
    if "enum" in field:
        return " or ".join(f"`{each}`" for each in field["enum"])
    if "pattern" in field and "ms|d|h|m|s" in field["pattern"]:
        return "duration"
    if field.get("format") == "date-time":
        return "time"
    match field.get("type"):
        case "array":
            return f"list of {_type(field['items'])}"
        case "object" if field.get("x-kubernetes-preserve-unknown-fields"):
            return "any object"
        case None:
            return "any JSON"
        case kind:
            return str(kind)


def _bounds(field: Schema) -> str:
    said = []
    if "default" in field and field["default"] not in ([], {}, "", False):
        shown = json.dumps(field["default"], ensure_ascii=False)
        said.append(f"Default: `{shown.strip(chr(34))}`.")
    for key, word in (("maxItems", "entries"), ("maxLength", "characters")):
        if key in field and _type(field) != "duration":
            said.append(f"At most {field[key]:,} {word}.")
    lowest, highest = field.get("minimum"), field.get("maximum")
    if highest is not None:
        said.append(f"From {lowest:,} to {highest:,}.")
    return "".join(f" {each}" for each in said)


def _rules(schema: Schema) -> Iterator[str]:
    for rule in schema.get("x-kubernetes-validations", ()):
        yield rule["message"]
    for name, field in schema.get("properties", {}).items():
        if name != "worker":
            yield from _rules(field)
    if "items" in schema:
        yield from _rules(schema["items"])


def _conditions() -> Iterator[str]:
    yield from ("## Conditions", "", "Of every kind, by the rules of kstatus.", "")
    rows = [
        (f"`{each}`", "only while true" if each in ABNORMAL_TRUE else "", _doc(ConditionType, each))
        for each in ConditionType
    ]
    yield from _table(("type", "present", "meaning"), rows)
    yield from ("Reasons:", "")
    yield from _table(("reason", "meaning"), [(f"`{each}`", _doc(Reason, each)) for each in Reason])


def _doc(enum: type[Enum], member: Enum) -> str:
    """Return the docstring below an enum's member, which only the source has."""
    import ast
    import inspect

    body = ast.parse(inspect.getsource(enum)).body[0]
    assert isinstance(body, ast.ClassDef)
    for assignment, after in zip(body.body, body.body[1:], strict=False):
        if isinstance(assignment, ast.Assign) and isinstance(after, ast.Expr):
            target = assignment.targets[0]
            if isinstance(target, ast.Name) and target.id == member.name:
                assert isinstance(after.value, ast.Constant)
                text = " ".join(str(after.value.value).split())
                return text.replace("``", "`")
    raise AssertionError(f"{member!r} has no docstring")


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> Iterator[str]:
    heads = list(head)
    yield f"| {' | '.join(heads)} |"
    yield f"|{'---|' * len(heads)}"
    for row in rows:
        cells = (" ".join(str(cell or "").split()).replace("|", "\\|") for cell in row)
        yield f"| {' | '.join(cells)} |"
    yield ""


def main() -> None:
    """Write the pages."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, text in pages().items():
        (FOLDER / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
