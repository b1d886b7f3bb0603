"""Calls that a replay could not repeat raise, and say where and what to write instead."""

# The calls under test are the ones that are discouraged elsewhere:
# ruff: noqa: PLW0108, PTH102, PTH108, PTH110, PTH113, PTH123, PTH208, SIM115

import asyncio
import concurrent.futures
import http.client
import os
import pathlib
import shutil
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from builtins import open as open_bound_before
from os import environ, getenv
from time import sleep as sleep_bound_before

import pytest

from perdure.exceptions import FailureError, UsageError
from perdure.worker import guards
from perdure.worker.guards import Forbidden, ForbiddenCallError

HERE = pathlib.Path(__file__)

CALLS = {
    "socket": (Forbidden.NETWORK, lambda: socket.socket()),
    "connect": (Forbidden.NETWORK, lambda: socket.create_connection(("127.0.0.1", 9))),
    "getaddrinfo": (Forbidden.NETWORK, lambda: socket.getaddrinfo("localhost", 80)),
    "gethostname": (Forbidden.NETWORK, lambda: socket.gethostname()),
    "urlopen": (Forbidden.NETWORK, lambda: urllib.request.urlopen("http://127.0.0.1:9/")),
    "http.client": (Forbidden.NETWORK, lambda: http.client.HTTPConnection("a", 9).connect()),
    "open": (Forbidden.FILES, lambda: open(HERE)),
    "open by name": (Forbidden.FILES, lambda: open_bound_before(HERE)),
    "os.open": (Forbidden.FILES, lambda: os.open(HERE, os.O_RDONLY)),
    "read_text": (Forbidden.FILES, lambda: HERE.read_text()),
    "exists": (Forbidden.FILES, lambda: HERE.exists()),
    "os.path.exists": (Forbidden.FILES, lambda: os.path.exists(HERE)),
    "isfile": (Forbidden.FILES, lambda: os.path.isfile(HERE)),
    "access": (Forbidden.FILES, lambda: os.access(HERE, os.R_OK)),
    "listdir": (Forbidden.FILES, lambda: os.listdir(HERE.parent)),
    "mkdir": (Forbidden.FILES, lambda: os.mkdir("/nowhere/at/all")),
    "unlink": (Forbidden.FILES, lambda: os.unlink("/nowhere/at/all")),
    "glob": (Forbidden.FILES, lambda: list(HERE.parent.glob("*"))),
    "copy": (Forbidden.FILES, lambda: shutil.copyfile(HERE, "/nowhere/at/all")),
    "tempfile": (Forbidden.FILES, lambda: tempfile.TemporaryFile()),
    "sqlite3": (Forbidden.FILES, lambda: sqlite3.connect(":memory:")),
    "subprocess": (Forbidden.PROCESSES, lambda: subprocess.run(["true"], check=False)),
    "os.system": (Forbidden.PROCESSES, lambda: os.system("true")),
    "fork": (Forbidden.PROCESSES, lambda: os.fork()),
    "kill": (Forbidden.PROCESSES, lambda: os.kill(os.getpid(), 0)),
    "thread": (Forbidden.THREADS, lambda: threading.Thread(target=print).start()),
    "executor": (
        Forbidden.THREADS,
        lambda: concurrent.futures.ThreadPoolExecutor().submit(print),
    ),
    "environ": (Forbidden.ENVIRONMENT, lambda: os.environ["HOME"]),
    "environ by name": (Forbidden.ENVIRONMENT, lambda: environ.get("HOME")),
    "getenv": (Forbidden.ENVIRONMENT, lambda: getenv("HOME", "x")),
    "in environ": (Forbidden.ENVIRONMENT, lambda: "HOME" in os.environ),
    "names in environ": (Forbidden.ENVIRONMENT, lambda: list(os.environ)),
    "size of environ": (Forbidden.ENVIRONMENT, lambda: len(os.environ)),
    "environ in words": (Forbidden.ENVIRONMENT, lambda: repr(os.environ)),
    "copy of environ": (Forbidden.ENVIRONMENT, lambda: dict(os.environ)),
    "set environ": (Forbidden.ENVIRONMENT, lambda: os.environ.update(X="1")),
    "putenv": (Forbidden.ENVIRONMENT, lambda: os.putenv("X", "1")),
    "input": (Forbidden.TERMINAL, lambda: input()),
    "sleep": (Forbidden.SLEEP, lambda: time.sleep(3600)),
}


@pytest.mark.parametrize(
    ("kind", "call"), [pytest.param(kind, call, id=name) for name, (kind, call) in CALLS.items()]
)
def test_a_forbidden_call_raises(as_workflow, kind, call):
    with pytest.raises(ForbiddenCallError) as raised:
        as_workflow(call)
    assert raised.value.kind is kind
    assert raised.value.filename == __file__


def test_the_error_fails_the_task_and_not_the_workflow():
    assert not issubclass(ForbiddenCallError, FailureError)
    assert issubclass(ForbiddenCallError, UsageError)


def test_the_error_names_the_line_the_call_and_the_remedy(as_workflow):
    def charge_order():
        return urllib.request.urlopen("http://127.0.0.1:9/")

    line = charge_order.__code__.co_firstlineno + 1
    with pytest.raises(ForbiddenCallError) as raised:
        as_workflow(charge_order)
    message = str(raised.value)
    assert f"{__file__}:{line}, in " in message
    assert "charge_order" in message
    assert "urllib.request.urlopen (" in message
    assert "uses the network" in message
    assert "await workflow.step(fn, ...)" in message
    assert message.endswith('return urllib.request.urlopen("http://127.0.0.1:9/")')
    assert raised.value.line == line


@pytest.mark.parametrize(
    ("call", "remedy"),
    [
        pytest.param(lambda: time.sleep(1), "await workflow.sleep(...)", id="sleep"),
        pytest.param(lambda: os.getenv("X"), "as the workflow's input", id="environment"),
        pytest.param(lambda: open("x"), "await workflow.execute_activity(fn, ...)", id="file"),
        pytest.param(
            lambda: threading.Thread(target=print).start(), "asyncio.create_task", id="thread"
        ),
        pytest.param(lambda: input(), "@workflow.signal", id="terminal"),
    ],
)
def test_each_kind_has_its_own_remedy(as_workflow, call, remedy):
    with pytest.raises(ForbiddenCallError) as raised:
        as_workflow(call)
    assert remedy in str(raised.value)


def test_a_library_is_named_as_entered_and_the_users_line_is_blamed(as_workflow, tmp_path):
    library = tmp_path / "site-packages" / "lookup.py"
    library.parent.mkdir()
    library.write_text("import socket\ndef find(host):\n    return socket.getaddrinfo(host, 80)\n")
    scope = {"__name__": "lookup"}
    exec(compile(library.read_text(), str(library), "exec"), scope)

    def ask():
        return scope["find"]("localhost")

    with pytest.raises(ForbiddenCallError) as raised:
        as_workflow(ask)
    assert raised.value.filename == __file__
    assert raised.value.called.startswith("lookup.find (")


def test_an_application_under_site_packages_is_blamed_itself(as_workflow, tmp_path):
    source = "async def run():\n    return helper()\ndef helper():\n    return open('x')\n"
    path = str(tmp_path / "site-packages" / "orders.py")
    scope = {"__name__": "orders"}
    exec(compile(source, path, "exec"), scope)

    class Definition:
        run = staticmethod(scope["run"])

    with pytest.raises(ForbiddenCallError) as raised:
        as_workflow(Definition.run)
    assert raised.value.filename == path
    assert raised.value.line == 2


def test_outside_workflow_code_everything_is_allowed(tmp_path, monkeypatch):
    target = tmp_path / "file"
    target.write_text("x")
    assert target.exists()
    assert os.access(target, os.R_OK)
    monkeypatch.setenv("PERDURE_GUARD_TEST", "1")
    assert os.getenv("PERDURE_GUARD_TEST") == "1"
    assert "PERDURE_GUARD_TEST" in os.environ
    thread = threading.Thread(target=time.sleep, args=(0,))
    thread.start()
    thread.join()
    with socket.socket():
        pass
    assert subprocess.run([sys.executable, "-c", "pass"], check=False).returncode == 0


async def test_another_asyncio_loop_is_not_workflow_code(tmp_path):
    await asyncio.to_thread(time.sleep, 0)
    assert await asyncio.to_thread((tmp_path / "x").write_text, "x") == 1
    assert (tmp_path / "x").exists()
    assert os.environ.get("HOME") == os.getenv("HOME")


def test_a_thread_beside_workflow_code_is_free(as_workflow):
    go, done, seen = threading.Event(), threading.Event(), []

    def beside():
        go.wait()
        seen.append(HERE.exists())
        done.set()

    thread = threading.Thread(target=beside)
    thread.start()

    def code():
        go.set()
        assert done.wait(timeout=10)

    as_workflow(code)
    thread.join()
    assert seen == [True]


def test_removing_a_tree_works_as_before(tmp_path):
    # shutil and os look their functions up in os.supports_*; the guards must be in there.
    assert os.stat in os.supports_follow_symlinks
    assert os.stat in os.supports_dir_fd
    (tmp_path / "a" / "b").mkdir(parents=True)
    shutil.rmtree(tmp_path / "a")
    assert not (tmp_path / "a").exists()
    guards.uninstall()
    assert all(not isinstance(each, guards.patches.Guard) for each in os.supports_dir_fd)


def test_a_sleep_bound_before_is_refused_once_its_module_is_guarded(as_workflow):
    module = type(sys)("orders")
    module.sleep = sleep_bound_before
    guards.install_into(module)
    with pytest.raises(ForbiddenCallError):
        as_workflow(lambda: module.sleep(3600))


def test_after_uninstalling_nothing_is_refused(as_workflow):
    guards.uninstall()
    assert as_workflow(lambda: HERE.exists())
    assert as_workflow(lambda: len(HERE.read_text())) > 0
    assert as_workflow(lambda: len(os.environ)) > 0
