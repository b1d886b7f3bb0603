"""Forbidden calls that the interpreter itself reports, whoever makes them and however.

Audit events (the standard library's manual has the table) come from within C functions, so a
function that was bound by name before, or that a C extension calls, is seen as well. An audit
hook cannot be removed: it is added once in a process and asks whether it is wanted.
"""

from __future__ import annotations

import sys
from typing import Any

from perdure.worker.guards.patches import Patches
from perdure.worker.guards.scope import guarded_run
from perdure.workflow._forbidden import Forbidden, forbidden_call

_EVENTS_OF = {
    Forbidden.NETWORK: """
        ftplib.connect ftplib.sendcmd http.client.connect http.client.send imaplib.open
        imaplib.send poplib.connect poplib.putline smtplib.connect smtplib.send socket.__new__
        socket.bind socket.connect socket.getaddrinfo socket.gethostbyaddr socket.gethostbyname
        socket.gethostname socket.getnameinfo socket.getservbyname socket.getservbyport
        socket.sendmsg socket.sendto socket.sethostname urllib.Request
    """,
    Forbidden.FILES: """
        fcntl.fcntl fcntl.flock fcntl.lockf glob.glob glob.glob/2 mmap.__new__ open os.chdir
        os.chflags os.chmod os.chown os.fwalk os.getxattr os.link os.listdir os.listdrives
        os.listmounts os.listvolumes os.listxattr os.lockf os.mkdir os.remove os.removexattr
        os.rename os.rmdir os.scandir os.setxattr os.symlink os.truncate os.utime os.walk
        pathlib.Path.glob pathlib.Path.rglob shutil.chown shutil.copyfile shutil.copymode
        shutil.copystat shutil.copytree shutil.make_archive shutil.move shutil.rmtree
        shutil.unpack_archive sqlite3.connect tempfile.mkdtemp tempfile.mkstemp
    """,
    Forbidden.PROCESSES: """
        os.exec os.fork os.forkpty os.kill os.killpg os.posix_spawn os.spawn os.startfile
        os.system pty.spawn signal.pthread_kill subprocess.Popen webbrowser.open
    """,
    Forbidden.THREADS: "_thread.start_joinable_thread _thread.start_new_thread",
    Forbidden.ENVIRONMENT: "os.putenv os.unsetenv",
    Forbidden.TERMINAL: "builtins.input",
    Forbidden.SLEEP: "time.sleep",
}
_KINDS = {event: kind for kind, events in _EVENTS_OF.items() for event in events.split()}

_SHOWING_ARGUMENT = {
    "open",
    "os.listdir",
    "os.mkdir",
    "os.remove",
    "os.rmdir",
    "os.scandir",
    "os.system",
    "socket.getaddrinfo",
    "sqlite3.connect",
    "subprocess.Popen",
    "time.sleep",
    "urllib.Request",
}


class _Listener:
    """The hook: forwards forbidden events while it is wanted."""

    def __init__(self) -> None:
        self.is_added = False
        self.is_wanted = False

    def __call__(self, event: str, args: tuple[Any, ...]) -> None:
        kind = _KINDS.get(event)
        if kind is None or not self.is_wanted or guarded_run() is None:
            return
        if event == "open" and _is_time_zone(args[0]):
            return
        raise forbidden_call(kind, _shown(event, args))


_listener = _Listener()


def listen(patches: Patches) -> None:
    """Refuse forbidden events in workflow code from now on."""
    if not _listener.is_added:
        sys.addaudithook(_listener)
        _listener.is_added = True
    _listener.is_wanted = True
    patches.on_undo(lambda: setattr(_listener, "is_wanted", False))


def _is_time_zone(path: object) -> bool:
    """Whether ``ZoneInfo``, which opens files from C, reads one of its own."""
    zoneinfo = sys.modules.get("zoneinfo")
    return zoneinfo is not None and str(path).startswith(zoneinfo.TZPATH)


def _shown(event: str, args: tuple[Any, ...]) -> str:
    argument = repr(args[0])[:100] if event in _SHOWING_ARGUMENT and args else "..."
    return f"{event}({argument})"
