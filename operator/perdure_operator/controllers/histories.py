"""A run's history as a status shows it: the last events as lines, and the whole as a checkpoint."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from datetime import UTC

import zstandard

from perdure.protocol.events import HistoryEvent, decode_events, encode_events
from perdure.protocol.lines import HistoryLines
from perdure_operator.model import Checkpoint
from perdure_operator.model.workflow import CHECKPOINT_LIMIT_BYTES

CHECKPOINT_ENCODING = "zstd+base64"
TAIL = 10
"""How many lines a status shows."""


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
    """Return the events that a checkpoint holds."""
    packed = base64.b64decode(checkpoint.data)
    return decode_events(zstandard.ZstdDecompressor().decompress(packed))
