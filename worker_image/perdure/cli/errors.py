"""How the command line says that something went wrong, and with which exit code."""

from __future__ import annotations

EXIT_OK = 0
EXIT_RUN_FAILED = 1
EXIT_USAGE = 2
EXIT_UNREACHABLE = 3
EXIT_REFUSED = 4
EXIT_INTERRUPTED = 130

EXIT_CODES = (
    "Exit codes: 0 done; 1 the run (or query) failed; 2 wrong usage; 3 no server could be reached "
    "or started; 4 the server refused; 130 interrupted."
)


class CommandError(Exception):
    """Ends the command: the message goes to standard error, without a traceback.

    Args:
        message: what happened, where, and what to do.
        code: the exit code.
    """

    def __init__(self, message: str, code: int = EXIT_USAGE) -> None:
        super().__init__(message)
        self.code = code
