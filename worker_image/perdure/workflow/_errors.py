"""Errors that only workflow code meets."""

from __future__ import annotations

from perdure.exceptions import PerdureError


class ReadOnlyContextError(PerdureError):
    """Workflow code asked for something while it may only look: in a query, in a condition."""
