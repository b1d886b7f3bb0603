"""``--input``: one JSON value per argument of the workflow, signal or query."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from perdure.cli.errors import CommandError
from perdure.protocol.payloads import MAX_PAYLOAD_BYTES, Payload, Payloads

_NULL = Payload(metadata={"encoding": b"binary/null"})


def read_inputs(given: Sequence[str] | None) -> Payloads:
    """Return the arguments as they travel: JSON as it was written.

    Raises:
        CommandError: one is not JSON, or its file cannot be read.
    """
    return tuple(_payload(text, place) for place, text in enumerate(given or (), start=1))


def _payload(text: str, place: int) -> Payload:
    where = f"--input {place}"
    if text.startswith("@"):
        where = f"{where} (file {text[1:]})"
        text = _read(Path(text[1:]), where)
    try:
        value = json.loads(text, parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        raise CommandError(_not_json(where, text, error)) from None
    except ValueError as error:
        raise CommandError(f"{where} is not JSON: {error}") from None

    if value is None:
        return _NULL
    data = text.strip().encode()
    if len(data) > MAX_PAYLOAD_BYTES:
        raise CommandError(
            f"{where} has {len(data):,} bytes, the limit is {MAX_PAYLOAD_BYTES:,}: keep large data "
            "elsewhere and pass a reference to it"
        )
    return Payload(metadata={"encoding": b"json/plain"}, data=data)


def _read(path: Path, where: str) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise CommandError(f"{where} cannot be read: {reason}") from None


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON value")


def _not_json(where: str, text: str, error: json.JSONDecodeError) -> str:
    line = text.splitlines()[error.lineno - 1] if text.strip() else ""
    begin = max(0, error.colno - 30)
    shown = line[begin : error.colno + 30]
    pointer = " " * (error.colno - 1 - begin) + "^"
    return (
        f"{where} is not JSON: {error.msg} at line {error.lineno}, column {error.colno}\n"
        f"  {shown}\n  {pointer}\n"
        "Text needs double quotes within the shell's single quotes: --input '\"text\"'"
    )
