"""The numbers of a batch's items.

A batch takes one ``seq`` of its run. Each of its items is an activity like any other to those who
run it, so it needs a number that no other activity of the run has: :func:`item_key` makes one of
the batch's number and the item's place, and :func:`item_of` takes it apart.
"""

from __future__ import annotations

_BITS = 24
MAX_ITEMS = 100_000
"""Of one batch."""


def item_key(seq: int, index: int) -> int:
    """Return the number of item ``index`` (from 0) of batch ``seq``."""
    return (seq << _BITS) + index + 1


def is_item(key: int) -> bool:
    """Whether a number is an item's, and not that of something that code asked for by itself."""
    return key >> _BITS != 0


def item_of(key: int) -> tuple[int, int]:
    """Return the batch and the index of what :func:`item_key` made."""
    return key >> _BITS, (key & ((1 << _BITS) - 1)) - 1


def key_text(key: int) -> str:
    """Return a number as people and other systems are told it: ``7``, an item's ``7.0``."""
    if not is_item(key):
        return str(key)
    seq, index = item_of(key)
    return f"{seq}.{index}"
