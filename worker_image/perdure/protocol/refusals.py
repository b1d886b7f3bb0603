"""How the server says that it did not do what a verb asked for."""

from __future__ import annotations

import msgspec


class ErrorResponse(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Why a verb was refused."""

    code: str
    """``Unauthorized`` (who asks is not known), ``Forbidden`` (a right is missing),
    ``NotFound``, ``AlreadyStarted``, ``AlreadyClosed``, ``Invalid``, ``TooLarge``,
    ``Unavailable`` (nothing was recorded, try again), ``NoWorker``, ``Timeout``,
    ``TaskFailing``, ``Damaged``, ``Fenced`` (an operator that leads no more)."""
    message: str
    """What happened, where, and what to do."""
    run_id: str = ""
    """With ``AlreadyStarted``: the run that is there."""
