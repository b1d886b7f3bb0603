"""What the cluster tooling runs: commands, the localkube script, kubectl and helm, and file locks.

Nothing here starts a cluster, so a chart test that needs helm alone pays for helm alone.
"""

from __future__ import annotations

import fcntl
import os
import shlex
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
LOCALKUBE = CHECKOUT / "tests" / "localkube" / "localkube"
COMPILING = 3600.0  # seconds; the first time, and on a slow machine

Announce = Callable[[str], None]
"""Says on the terminal what takes long."""


class CommandError(Exception):
    """A command exited with an error; the message holds what it said."""


class ClusterUnavailableError(Exception):
    """No cluster can be had on this machine; the message says what to install."""


def cache_folder(*parts: str) -> Path:
    """Return a folder below the user's cache folder, made if need be; never in the checkout."""
    root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = root.joinpath("perdure", *parts)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def run(
    command: Sequence[str | Path],
    *,
    input: str | None = None,  # noqa: A002 - subprocess's own name
    check: bool = True,
    timeout: float = 60,
    env: Mapping[str, str] | None = None,
) -> str:
    """Run ``command`` and return its standard output.

    Raises:
        CommandError: It exited with an error (only with ``check``) or took longer than ``timeout``.
    """
    words = [str(word) for word in command]
    try:
        done = subprocess.run(
            words,
            input=input,
            stdin=subprocess.DEVNULL if input is None else None,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
            env={**os.environ, **(env or {})},
        )
    except subprocess.TimeoutExpired as error:
        raise CommandError(f"{shlex.join(words)} did not end within {timeout:g} s") from error
    if check and done.returncode != 0:
        said = (done.stderr.strip() + "\n" + done.stdout.strip()).strip()
        raise CommandError(f"{shlex.join(words)} exited with {done.returncode}:\n{said}")
    return done.stdout


def succeeds(*command: str | Path) -> bool:
    """Tell whether ``command`` is there and exits without an error."""
    try:
        run(command)
    except (CommandError, FileNotFoundError):
        return False
    return True


class Tools:
    """Where the command-line tools are: the machine's own, else compiled (once) by localkube."""

    @cached_property
    def kubectl(self) -> Path:
        """The path of kubectl."""
        return _installed_or_compiled("kubectl")

    @cached_property
    def helm(self) -> Path:
        """The path of helm."""
        return _installed_or_compiled("helm")


def tools() -> Tools:
    """Return where kubectl and helm are, each found or compiled when first asked for."""
    return Tools()


def _installed_or_compiled(name: str) -> Path:
    installed = shutil.which(name)
    return Path(installed or run([LOCALKUBE, "tool", name], timeout=COMPILING).strip())


@contextmanager
def file_lock(path: Path, *, wait: float, announce: Announce = print) -> Iterator[bool]:
    """Hold the lock of the file ``path``; yield False when another process kept it ``wait`` s."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        held = _try_lock(file.fileno())
        if not held and wait > 0:
            announce(f"another process holds {path}; waiting for it")
        deadline = time.monotonic() + wait
        while not held and time.monotonic() < deadline:
            time.sleep(0.5)
            held = _try_lock(file.fileno())
        yield held


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
