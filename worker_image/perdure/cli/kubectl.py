"""``kubectl``, as a child process: whom it speaks for and where its cluster is, it knows best.

Credentials of every kind (certificates, OIDC, a cloud's plugin) are its business; nothing of them
is read here.
"""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from perdure.cli.errors import EXIT_REFUSED, EXIT_UNREACHABLE, CommandError

PROGRAM = "kubectl"
_TIMEOUT = 30.0


class KubectlError(CommandError):
    """kubectl did not do what it was asked; its own words are the message."""

    def __init__(self, what: str, words: str) -> None:
        super().__init__(f"`kubectl {what}` failed: {words or 'it said nothing'}", EXIT_REFUSED)
        self.words = words


@dataclass(frozen=True, slots=True, kw_only=True)
class Kubectl:
    """The program, for one context of one kubeconfig."""

    context: str = ""
    """Empty: the current one."""
    kubeconfig: Path | None = None
    """None: kubectl's own choice."""

    def command(self, *words: str) -> list[str]:
        """Return the command line for ``words``."""
        given = [PROGRAM]
        if self.kubeconfig is not None:
            given += ["--kubeconfig", str(self.kubeconfig)]
        if self.context:
            given += ["--context", self.context]
        return [*given, *words]

    def run(self, *words: str, stdin: str | None = None) -> str:
        """Run it and return what it printed.

        Raises:
            KubectlError: it failed.
            CommandError: it is not installed, or did not end.
        """
        try:
            done = subprocess.run(  # noqa: S603 - kubectl with our own words, no shell
                self.command(*words),
                input=stdin,
                stdin=subprocess.DEVNULL if stdin is None else None,
                capture_output=True,
                text=True,
                timeout=_TIMEOUT,
                check=False,
            )
        except FileNotFoundError as error:
            raise _missing() from error
        except subprocess.TimeoutExpired as error:
            message = f"`kubectl {words[0]}` did not answer within {_TIMEOUT:g} s"
            raise CommandError(message, EXIT_UNREACHABLE) from error
        if done.returncode != 0:
            raise KubectlError(words[0], done.stderr.strip())
        return done.stdout

    def read(self, *words: str) -> dict[str, Any]:
        """Run it with ``-o json`` and return the data."""
        found: dict[str, Any] = json.loads(self.run(*words, "-o", "json"))
        return found

    def start(self, *words: str) -> subprocess.Popen[str]:
        """Start it; standard error comes with standard output.

        Raises:
            CommandError: it is not installed.
        """
        try:
            return subprocess.Popen(  # noqa: S603 - likewise
                self.command(*words),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
        except FileNotFoundError as error:
            raise _missing() from error


def _missing() -> CommandError:
    return CommandError(
        "kubectl is not on the PATH: install it, or give --address to speak to a server without it",
        EXIT_UNREACHABLE,
    )
