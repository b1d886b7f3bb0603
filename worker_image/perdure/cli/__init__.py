"""The ``perdure`` command, which is also ``kubectl perdure``.

One module a verb in :mod:`perdure.cli.verbs`. Verbs import what they need when they run, so that
``perdure --help`` is quick. What goes wrong is a :class:`perdure.cli.errors.CommandError`: one
message on standard error and an exit code, no traceback.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Sequence

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line and exit."""
    from perdure.cli.access import is_plugin
    from perdure.cli.app import build_app
    from perdure.cli.errors import EXIT_INTERRUPTED, CommandError

    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal may not know our arrows
    app = build_app()
    name = "kubectl perdure" if is_plugin() else None
    try:
        app(args=None if argv is None else list(argv), prog_name=name)
    except CommandError as error:
        sys.stdout.flush()
        print(f"perdure: {error}", file=sys.stderr)  # noqa: T201 - a program's own words
        sys.exit(error.code)
    except KeyboardInterrupt:
        sys.exit(EXIT_INTERRUPTED)
    except BrokenPipeError:
        # Whoever read our output has had enough, as `head` does. Nothing is left to flush to.
        sys.stderr.close()
        sys.exit(0)
