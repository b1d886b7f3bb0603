"""A logger for workflow code: silent while a run is replayed, and it says which run speaks.

Without it every replay would write the same lines again.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, MutableMapping
from typing import Any

from perdure.workflow._forbidden import unguarded
from perdure.workflow._info import Info
from perdure.workflow._runtime import current_or_none


class LoggerAdapter(logging.LoggerAdapter[logging.Logger]):
    """Adds to each record what is known of the run; elsewhere adds nothing."""

    def __init__(self, logger: logging.Logger, extra: Mapping[str, Any] | None = None) -> None:
        super().__init__(logger, extra or {})
        self.workflow_info_on_message = True
        """Whether the details are written behind the message."""
        self.workflow_info_on_extra = True
        """Whether the record gets them as ``perdure_workflow``."""
        self.full_workflow_info_on_extra = False
        """Whether the record gets the whole :class:`Info` as ``workflow_info``."""
        self.log_during_replay = False
        """Whether replays are logged as well."""

    def process(
        self, msg: Any, kwargs: MutableMapping[str, Any]
    ) -> tuple[Any, MutableMapping[str, Any]]:
        """Add the details to a record in the making."""
        runtime = current_or_none()
        if runtime is None:
            return msg, kwargs
        info = runtime.info()
        details = _details(info)
        if self.workflow_info_on_message:
            msg = f"{msg} ({details})"
        extra = dict(kwargs.get("extra") or {})
        if self.workflow_info_on_extra:
            extra["perdure_workflow"] = details
        if self.full_workflow_info_on_extra:
            extra["workflow_info"] = info
        return msg, {**kwargs, "extra": extra}

    def isEnabledFor(self, level: int) -> bool:  # noqa: N802 - the name of the overridden method
        """Whether a record of this level is written, now."""
        runtime = current_or_none()
        if runtime is not None and runtime.is_replaying() and not self.log_during_replay:
            return False
        return super().isEnabledFor(level)

    def log(self, level: int, msg: object, *args: object, **kwargs: Any) -> None:
        """Write a record, whatever the handlers need to do for it."""
        if self.isEnabledFor(level):
            # A handler may look at the clock, the thread or a file: none of it comes back to
            # workflow code.
            with unguarded():
                kwargs["stacklevel"] = kwargs.get("stacklevel", 1) + 1
                super().log(level, msg, *args, **kwargs)

    @property
    def base_logger(self) -> logging.Logger:
        """The logger behind this one, to set handlers and levels on."""
        return self.logger


logger = LoggerAdapter(logging.getLogger("perdure.workflow"))
"""For workflow code; its records say which run they come from."""


def log_lost_error(message: str, error: BaseException | None, info: Info) -> None:
    """Log an error that no workflow code of the run ``info`` looked at.

    It is often noticed later, while another run's code is running: hence not the adapter.
    """
    with unguarded():
        logger.base_logger.error("%s (%s)", message, _details(info), exc_info=error)


def _details(info: Info) -> dict[str, str]:
    return {
        "namespace": info.namespace,
        "workflow_type": info.workflow_type,
        "workflow_id": info.workflow_id,
        "run_id": info.run_id,
        "task_queue": info.task_queue,
    }
