"""A logger that says which attempt is speaking."""

from __future__ import annotations

import logging
from collections.abc import Mapping, MutableMapping
from typing import Any

from perdure.activity._context import current_context


class LoggerAdapter(logging.LoggerAdapter[logging.Logger]):
    """Adds to each record what is known of the running attempt; elsewhere adds nothing."""

    def __init__(self, logger: logging.Logger, extra: Mapping[str, Any] | None = None) -> None:
        super().__init__(logger, extra or {})
        self.activity_info_on_message = True
        """Whether the details are written behind the message."""
        self.activity_info_on_extra = True
        """Whether the record gets them as ``perdure_activity``."""
        self.full_activity_info_on_extra = False
        """Whether the record gets the whole :class:`Info` as ``activity_info``."""

    def process(
        self, msg: Any, kwargs: MutableMapping[str, Any]
    ) -> tuple[Any, MutableMapping[str, Any]]:
        """Add the details to a record in the making."""
        context = current_context.get(None)
        if context is None:
            return msg, kwargs
        info = context.info
        if self.activity_info_on_message:
            msg = f"{msg} ({info.log_details})"
        extra = dict(kwargs.get("extra") or {})
        if self.activity_info_on_extra:
            extra["perdure_activity"] = info.log_details
        if self.full_activity_info_on_extra:
            extra["activity_info"] = info
        return msg, {**kwargs, "extra": extra}

    @property
    def base_logger(self) -> logging.Logger:
        """The logger behind this one, to set handlers and levels on."""
        return self.logger


logger = LoggerAdapter(logging.getLogger("perdure.activity"))
"""For activity code; its records say which attempt they come from."""
