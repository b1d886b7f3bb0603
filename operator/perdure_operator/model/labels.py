"""What the API server takes for a label; a rule of a CRD cannot say it, for keys are unbounded."""

from __future__ import annotations

import re

_PREFIX = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_WORD = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?")
_MAX_PREFIX, _MAX_WORD = 253, 63


def check_label(name: str, value: str) -> None:
    """Raise for what cannot be a label; with an empty value, for what cannot name an annotation.

    Raises:
        ValueError: It cannot; the message says how to write it.
    """
    prefix, slash, word = name.rpartition("/")
    if slash and not (_PREFIX.fullmatch(prefix) and len(prefix) <= _MAX_PREFIX):
        raise ValueError(f"{name!r}: what is before / must be a domain name, such as example.com")
    if not _is_word(word):
        raise ValueError(f"{name!r} cannot be a key: {_RULE}")
    if value and not _is_word(value):
        raise ValueError(f"{name}: {value!r} cannot be a label's value: {_RULE}")


_RULE = (
    "use up to 63 letters, digits, - _ and ., with a letter or digit at either end (anything "
    "longer belongs into an annotation's value)"
)


def _is_word(text: str) -> bool:
    return len(text) <= _MAX_WORD and _WORD.fullmatch(text) is not None
