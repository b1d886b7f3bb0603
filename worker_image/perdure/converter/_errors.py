"""What decoders complain about, in one form: where, what was expected, what is there."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from perdure.exceptions import ConversionError

_PLACE = re.compile(r"^(?P<problem>.*?)(?: - at (?P<path>.+))?$", re.DOTALL)
_EXPECTED = re.compile(r"^[Ee]xpected (?P<expected>.+?), got (?P<found>.+)$", re.DOTALL)
_JSON_NAMES = {"NoneType": "null", "dict": "object", "list": "array"}


def from_msgspec(error: Exception, name: str) -> ConversionError:
    """Return what msgspec says about data that should be a ``name``."""
    place = _PLACE.match(str(error))
    assert place is not None  # the pattern fits any text
    path = (place["path"] or "$").replace("`", "")

    inner = error.__cause__
    if isinstance(inner, ConversionError):  # from the hook, which knows only its own part
        return type(inner)(
            inner.problem,
            path=path + inner.path.removeprefix("$"),
            expected=inner.expected,
            found=inner.found,
        )

    text = place["problem"].replace("`", "")
    wanted = _EXPECTED.match(text)
    return ConversionError(
        text[:1].lower() + text[1:],
        path=path,
        expected=wanted["expected"] if wanted else name,
        found=wanted["found"] if wanted else "",
    )


def from_pydantic(errors: Sequence[Any], name: str) -> ConversionError:
    """Return the first of what pydantic says about data that should be a ``name``."""
    first = errors[0]
    kind = type(first["input"]).__name__
    found = _JSON_NAMES.get(kind, kind)
    path = "$" + "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in first["loc"])
    more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    problem = first["msg"][:1].lower() + first["msg"][1:]
    return ConversionError(f"{problem}, got {found}{more}", path=path, expected=name, found=found)
