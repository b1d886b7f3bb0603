"""Printing: tables for people, JSON and YAML for programs, names for shell loops.

YAML is written here and not by a library: what is printed is JSON data, and for that a printer is
shorter than a dependency. Strings that YAML could take for something else are quoted as in JSON,
which every YAML reader understands.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Any

import msgspec
import typer

from perdure.protocol.events import HistoryEvent, event_name
from perdure.protocol.lines import payload_value
from perdure.protocol.payloads import Millis, Payload

_INSTANTS = frozenset(
    {"closed", "fires", "heartbeat", "next_attempt", "oldest", "scheduled", "started", "time"}
)
"""Fields that hold instants, wherever they are."""

_PLAIN = re.compile(r"[A-Za-z_/][A-Za-z0-9_./-]*( [A-Za-z0-9_./-]+)*")
_WORDS_WITH_A_MEANING = frozenset({"y", "n", "yes", "no", "on", "off", "true", "false", "null"})


def print_line(text: str = "", *, to_stderr: bool = False) -> None:
    """Print one line."""
    typer.echo(text, err=to_stderr)


def print_data(value: Any, form: str) -> None:
    """Print data as ``json`` or ``yaml``."""
    print_line(to_yaml(value) if form == "yaml" else json_text(value, indent=2))


def json_text(value: Any, *, indent: int | None = None) -> str:
    """Return a value as JSON."""
    return json.dumps(value, ensure_ascii=False, indent=indent)


def to_data(value: Any, field: str = "") -> Any:
    """Return a message as data for programs: payloads decoded, instants as RFC 3339."""
    match value:
        case Payload():
            return payload_value(value)
        case HistoryEvent(id=number, time=time, event=event):
            name = event_name(event)
            return {"id": number, "time": instant(time), "type": name, **to_data(event)}
        case msgspec.Struct():
            names = value.__struct_fields__
            return {_camel(name): to_data(getattr(value, name), name) for name in names}
        case Mapping():
            return {str(key): to_data(item) for key, item in value.items()}
        case list() | tuple():
            return [to_data(item) for item in value]
        case Enum():
            return value.name if isinstance(value, int) else value.value
        case int() if field in _INSTANTS and not isinstance(value, bool):
            return instant(value)
        case _:
            return value


def _camel(name: str) -> str:
    """Return a field's name as manifests write it."""
    first, *others = name.split("_")
    return first + "".join(map(str.capitalize, others))


def instant(time: Millis) -> str:
    """Return an instant in RFC 3339."""
    at = datetime.fromtimestamp(0, UTC) + timedelta(milliseconds=time)
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def ago(since: Millis, now: Millis) -> str:
    """Return how long ago an instant was, in one unit."""
    seconds = max(0, now - since) // 1000
    for unit, length in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds // length} {unit} ago"
    return f"{seconds} s ago"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Return lines with the columns under each other, as kubectl prints them."""
    everything = [head, *rows]
    widths = [max(len(row[column]) for row in everything) for column in range(len(head))]
    return [
        "   ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in everything
    ]


def to_yaml(value: Any) -> str:
    """Return JSON data as YAML."""
    return "\n".join(_yaml_lines(value))


def _yaml_lines(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping) and value:
        for key, item in value.items():
            yield from _yaml_entry(f"{_scalar(str(key))}:", item, indent="  ")
    elif isinstance(value, list) and value:
        for item in value:
            yield from _yaml_item(item)
    else:
        yield _scalar(value)


def _yaml_entry(head: str, item: Any, indent: str) -> Iterator[str]:
    if isinstance(item, (Mapping, list)) and item:
        yield head
        yield from (f"{indent}{line}" for line in _yaml_lines(item))
    else:
        yield f"{head} {_scalar(item)}"


def _yaml_item(item: Any) -> Iterator[str]:
    first, *others = _yaml_lines(item)
    yield f"- {first}"
    yield from (f"  {line}" for line in others)


def _scalar(value: Any) -> str:
    if isinstance(value, str) and _PLAIN.fullmatch(value):
        return value if value.lower() not in _WORDS_WITH_A_MEANING else f'"{value}"'
    # YAML takes fewer characters as they are than JSON does.
    return "".join(
        each if each.isprintable() else f"\\U{ord(each):08X}" for each in json_text(value)
    )
