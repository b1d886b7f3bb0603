"""What a status keeps of a run so that it can be rebuilt."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from perdure_operator.model.fields import StatusModel

CHECKPOINT_LIMIT_BYTES = 16384
"""A longer checkpoint is left out of the status, and the run cannot be rebuilt from it."""


class Checkpoint(StatusModel):
    """The whole history, compressed: what the run is rebuilt from if the store is lost."""

    events: Annotated[int, Field(ge=0)]
    """How many events it holds."""
    encoding: Annotated[str, Field(max_length=64)]
    """How data is written, for example zstd+base64."""
    data: Annotated[str, Field(max_length=2 * CHECKPOINT_LIMIT_BYTES)]
    """The events."""
