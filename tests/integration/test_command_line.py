"""``perdure run`` and its sisters as real processes, with a real server and a real worker."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.timeout(120)
PATIENCE = 30.0

ORDERS = """
from datetime import timedelta
from pathlib import Path
from perdure import workflow
from perdure.exceptions import ApplicationError

def record(name):
    with Path("effects").open("a") as effects:
        effects.write(name + "\\n")
    return {"did": name}

@workflow.defn
class Simple:
    @workflow.run
    async def run(self, number: int, text: str = "x") -> dict:
        print("working", flush=True)
        done = await workflow.step(record, "simple")
        return {"number": number, "text": text, **done}

@workflow.defn
class Waiting:
    def __init__(self) -> None:
        self.answer: str | None = None

    @workflow.run
    async def run(self) -> str:
        await workflow.step(record, "before")
        await workflow.wait_condition(lambda: self.answer is not None)
        await workflow.step(record, "after")
        return f"answered {self.answer}"

    @workflow.signal
    def answer_with(self, answer: str) -> None:
        self.answer = answer

    @workflow.query
    def stage(self) -> str:
        return "waiting" if self.answer is None else "answered"

@workflow.defn
class Failing:
    @workflow.run
    async def run(self) -> None:
        raise ApplicationError("no stock", type="OutOfStock")

@workflow.defn
class Broken:
    @workflow.run
    async def run(self) -> str:
        await workflow.step(record, "once")
        return Path("effects").read_text()  # BROKEN
"""


class Shell:
    """Runs commands in a folder of its own, and leaves no process behind."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._children: list[subprocess.Popen[str]] = []

    def begin(self, *words: str) -> subprocess.Popen[str]:
        """Start a command; its standard error goes to a file."""
        with (self.folder / "stderr").open("w") as stderr:
            child = subprocess.Popen(
                [sys.executable, "-m", "perdure", *words],
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
                env={**os.environ, "PYTHONUNBUFFERED": "1"},
                start_new_session=True,
            )
        self._children.append(child)
        return child

    def run(self, *words: str) -> tuple[int, str, str]:
        """Run a command to its end; returns exit code, standard output, standard error."""
        child = self.begin(*words)
        out, _ = child.communicate(timeout=PATIENCE)
        return child.returncode, out, self.stderr

    @property
    def stderr(self) -> str:
        """What the last command has said on standard error so far."""
        return (self.folder / "stderr").read_text()

    def wait_for(self, text: str, child: subprocess.Popen[str]) -> str:
        """Wait until the last command has said something on standard error."""
        deadline = time.monotonic() + PATIENCE
        while text not in self.stderr:
            assert child.poll() is None, self.stderr
            assert time.monotonic() < deadline, self.stderr
            time.sleep(0.02)
        return self.stderr

    @property
    def effects(self) -> list[str]:
        """What steps have done in this folder."""
        return (self.folder / "effects").read_text().split()

    def close(self) -> None:
        """Kill what is left."""
        for child in self._children:
            if child.poll() is None:
                child.kill()
            child.wait(PATIENCE)
            if child.stdout is not None:
                child.stdout.close()


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    (tmp_path / "orders.py").write_text(ORDERS)
    shell = Shell(tmp_path)
    yield shell
    shell.close()


def test_run_prints_the_result_on_the_last_line_and_succeeds(shell: Shell):
    code, out, err = shell.run("run", "orders.py:Simple", "-i", "5", "-i", '"y"', "--id", "a")
    assert code == 0, err
    assert json.loads(out.splitlines()[-1]) == {"number": 5, "text": "y", "did": "simple"}
    assert out.splitlines()[0] == "working"
    told = [line.partition("] ")[2] for line in err.splitlines() if line.startswith("[")]
    assert told[0] == "WorkflowStarted"
    assert told[1] == 'StepCompleted: record → {"did": "simple"}'
    assert told[2].startswith("WorkflowCompleted → ")


def test_run_again_prints_the_same_result_and_starts_nothing(shell: Shell):
    words = ("run", "orders.py:Simple", "-i", "5", "--id", "a", "--db", "sub/my.db")
    first = shell.run(*words)
    second = shell.run(*words)
    assert (first[0], second[0]) == (0, 0)
    assert first[1].splitlines()[-1] == second[1].splitlines()[-1]
    assert shell.effects == ["simple"]
    assert (shell.folder / "sub" / "my.db").exists()


def test_a_failed_run_exits_with_1_every_time(shell: Shell):
    for _ in range(2):
        code, out, err = shell.run("run", "orders.py:Failing", "--id", "f")
        assert (code, out) == (1, "")
        assert "f failed\n  OutOfStock: no stock" in err


def test_code_that_cannot_go_on_is_told_and_goes_on_when_mended(shell: Shell):
    words = ("run", "orders.py:Broken", "--id", "b")
    for _ in range(2):
        code, _, err = shell.run(*words)
        assert code == 1
        assert "orders.py:" in err
        assert "may" in err or "must not" in err
        assert (
            "Nothing is lost: mend the code, then go on with: perdure run orders.py:Broken" in err
        )
    file = shell.folder / "orders.py"
    file.write_text(file.read_text().replace('Path("effects").read_text()  # BROKEN', '"mended"'))
    code, out, err = shell.run(*words)
    assert (code, out) == (0, '"mended"\n'), err
    assert shell.effects == ["once"]


def test_input_that_does_not_fit_fails_the_run(shell: Shell):
    code, _, err = shell.run("run", "orders.py:Simple", "-i", '"no number"', "--id", "x")
    assert code == 1
    assert "InvalidInput" in err


def test_an_id_of_another_type_is_refused(shell: Shell):
    shell.run("run", "orders.py:Failing", "--id", "f")
    code, _, err = shell.run("run", "orders.py:Simple", "--id", "f", "-i", "1")
    assert code == 2
    assert "f is a run of Failing, not of Simple: give another --id" in err


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_run_goes_on_where_it_was_stopped(shell: Shell, number: signal.Signals):
    words = ("run", "orders.py:Waiting", "--id", "w")
    child = shell.begin(*words)
    shell.wait_for("StepCompleted", child)
    child.send_signal(number)
    code = child.wait(PATIENCE)
    if number is not signal.SIGKILL:
        assert code == 130
        assert "go on with: perdure run orders.py:Waiting --id w" in shell.stderr

    child = shell.begin(*words)
    address = shell.wait_for("StepCompleted", child).partition("server on ")[2].split()[0]
    answer = [sys.executable, "-m", "perdure", "signal", "w", "answer_with", "-i", '"yes"']
    subprocess.run([*answer, "--address", address], check=True, stdout=subprocess.DEVNULL)
    out, _ = child.communicate(timeout=PATIENCE)
    assert (child.returncode, out) == (0, '"answered yes"\n')
    assert shell.effects == ["before", "after"]


def is_gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return "Z" in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def eventually(check: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + PATIENCE
    while not check():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def children_of(pid: int) -> list[int]:
    found = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(each) for each in found.split()]


def test_the_server_dies_with_a_command_that_is_killed(shell: Shell):
    child = shell.begin("dev", "--port", "0", "--db", "x.db")
    assert child.stdout is not None
    assert "Perdure is ready at 127.0.0.1:" in child.stdout.readline()
    (server,) = children_of(child.pid)
    child.kill()
    child.wait(PATIENCE)
    assert eventually(lambda: is_gone(server))


def test_dev_worker_and_the_other_verbs_work_together(shell: Shell):
    dev = shell.begin("dev", "--port", "0")
    assert dev.stdout is not None
    address = dev.stdout.readline().partition("ready at ")[2].partition(",")[0]
    to = ("--address", address)
    worker = shell.begin("worker", "orders.py", "--task-queue", "shop", *to)

    assert shell.run("start", "Waiting", "--id", "w", "-q", "shop", *to)[0] == 0
    assert shell.run("query", "w", "stage", *to)[:2] == (0, '"waiting"\n')
    assert shell.run("signal", "w", "answer_with", "-i", '"yes"', *to)[0] == 0
    assert shell.run("result", "w", *to)[:2] == (0, '"answered yes"\n')
    shown = shell.run("show", "w", *to)[1]
    assert shown.startswith("Workflow  w (Waiting)   Completed")
    assert 'SignalReceived: answer_with("yes")' in shown
    assert shell.run("list", "-o", "name", *to)[1] == "w\n"
    code, _, err = shell.run("signal", "w", "answer_with", *to)
    assert code == 4
    assert err.startswith("perdure: ")

    shell.run("start", "Waiting", "--id", "t", "-q", "shop", *to)
    assert shell.run("cancel", "t", *to)[0] == 0
    assert shell.run("result", "t", *to)[0] == 1

    worker.terminate()
    assert worker.wait(PATIENCE) == 0
    dev.terminate()
    assert dev.wait(PATIENCE) == 0
    assert shell.run("list", *to)[0] == 3


def test_an_idle_worker_leaves(shell: Shell):
    dev = shell.begin("dev", "--port", "0")
    assert dev.stdout is not None
    address = dev.stdout.readline().partition("ready at ")[2].partition(",")[0]
    code, _, _ = shell.run("worker", "orders.py", "--idle-after", "300ms", "--address", address)
    assert code == 0


def test_a_database_in_use_is_said(shell: Shell):
    dev = shell.begin("dev", "--port", "0", "--db", "x.db")
    assert dev.stdout is not None
    dev.stdout.readline()
    code, _, err = shell.run("run", "orders.py:Simple", "-i", "1", "--db", "x.db")
    assert code == 3
    assert "in use by another server" in err
    assert "did not start (exit code 3)" in err
