"""A run's history as a status shows it: the last events as lines, and the whole as a checkpoint."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from datetime import UTC

import msgspec
import zstandard

from perdure.protocol.events import HistoryEvent, decode_events, encode_events
from perdure.protocol.lines import HistoryLines
from perdure_operator.model import Checkpoint
from perdure_operator.model.checkpoints import CHECKPOINT_LIMIT_BYTES

CHECKPOINT_ENCODING = "zstd+base64"
MAX_UNPACKED_BYTES = 4 * 1024 * 1024
"""More than any history that fits into a checkpoint: what unpacks to more is none of ours."""
TAIL = 10
"""How many lines a status shows."""


class UnreadableCheckpointError(Exception):
    """What is in a status is no checkpoint; the message says why."""


def format_tail(events: Sequence[HistoryEvent], count: int = TAIL) -> list[str]:
    """Return the last ``count`` lines; the events before them are read for their names only."""
    lines = HistoryLines(zone=UTC)
    shown = [line for line in map(lines.line, events) if line is not None]
    return shown[-count:]


def build_checkpoint(events: Sequence[HistoryEvent]) -> Checkpoint | None:
    """Return the whole history, compressed, or None when even so it is too long."""
    packed = zstandard.ZstdCompressor().compress(encode_events(list(events)))
    data = base64.b64encode(packed).decode()
    if len(data) > CHECKPOINT_LIMIT_BYTES:
        return None
    return Checkpoint(events=len(events), encoding=CHECKPOINT_ENCODING, data=data)


def read_checkpoint(checkpoint: Checkpoint) -> list[HistoryEvent]:
    """Return the events that a checkpoint holds.

    Raises:
        UnreadableCheckpointError: it is none, or one of a later version.
    """
    if checkpoint.encoding != CHECKPOINT_ENCODING:
        raise UnreadableCheckpointError(f"its encoding is {checkpoint.encoding!r}")
    try:
        packed = base64.b64decode(checkpoint.data, validate=True)
        if zstandard.frame_content_size(packed) > MAX_UNPACKED_BYTES:
            raise UnreadableCheckpointError("it is larger than any that is written here")
        unpacked = zstandard.ZstdDecompressor().decompress(packed, MAX_UNPACKED_BYTES)
        return decode_events(unpacked)
    except (binascii.Error, zstandard.ZstdError, msgspec.DecodeError) as error:
        raise UnreadableCheckpointError(str(error)) from error
