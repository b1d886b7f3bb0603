"""The logs of the pods that worked on a run.

Which those are, the history says: workers sign what they report with their identity, which ends
with the name of their pod. Pods made for one run alone carry its id as a label.
"""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from heapq import merge

from perdure.cli.kubectl import Kubectl, KubectlError
from perdure.cli.outputs import print_line
from perdure.protocol.events import HistoryEvent
from perdure.protocol.messages import RunRef
from perdure.protocol.payloads import Millis

RUN_LABEL = "perdure.dev/run-id"
_LOOK_AGAIN = 1.0
_GONE = "NotFound"
_STOP_TIMEOUT = 5.0

_Readers = dict[str, tuple[subprocess.Popen[str], threading.Thread]]


class PodLogs:
    """What the pods of one run have printed.

    Args:
        kubectl: what reads them.
        run: the run.
        since: from when on, the run's start.
        everything: whether lines count that do not name the run.
    """

    def __init__(self, kubectl: Kubectl, run: RunRef, *, since: Millis, everything: bool) -> None:
        self._kubectl = kubectl
        self._run = run
        self._since = datetime.fromtimestamp(0, UTC) + timedelta(milliseconds=since)
        self._everything = everything
        self._shared: dict[str, None] = {}
        self._passed_over = 0
        self._gone: list[str] = []
        self._printed: set[tuple[str, str]] = set()

    def see(self, recorded: HistoryEvent | None) -> None:
        """Learn from the history which pods there were."""
        identity: str = getattr(recorded.event, "identity", "") if recorded else ""
        _, at, pod = identity.rpartition("@")
        if at:
            self._shared.setdefault(pod)

    def lines(self) -> Iterator[str]:
        """Yield the lines of all pods in the order of their times."""
        own = self._own()
        for _, line in merge(*(self._read(pod, own=pod in own) for pod in self._pods(own))):
            yield line

    def notes(self) -> Iterator[str]:
        """Yield what is to be said of lines that were not printed."""
        if self._gone:
            yield f"these pods are gone, and their logs with them: {', '.join(self._gone)}"
        if self._passed_over:
            yield (
                f"{self._passed_over} more lines of these pods do not name the run; "
                "--all prints them"
            )

    def _pods(self, own: set[str]) -> list[str]:
        return [*self._shared, *sorted(own - set(self._shared))]

    def _own(self) -> set[str]:
        """Return the pods that were made for this run alone."""
        label = f"{RUN_LABEL}={self._run.run_id}"
        found = self._kubectl.read("get", "pods", "-n", self._run.namespace, "-l", label)
        return {each["metadata"]["name"] for each in found["items"]}

    def _read(self, pod: str, *, own: bool) -> list[tuple[str, str]]:
        try:
            text = self._kubectl.run(*self._words(pod))
        except KubectlError as error:
            if _GONE not in error.words:
                raise
            self._gone.append(pod)
            return []
        found = [each for each in map(_split, text.splitlines()) if self._belongs(each[1], own)]
        return [(at, f"{pod} {line}") for at, line in found]

    def _words(self, pod: str) -> list[str]:
        since = self._since.isoformat(timespec="seconds").replace("+00:00", "Z")
        words = ["logs", pod, "-n", self._run.namespace, "--timestamps"]
        return [*words, "--all-containers", f"--since-time={since}"]

    def _belongs(self, line: str, own: bool) -> bool:
        if own or self._everything or self._names_run(line):
            return True
        self._passed_over += 1
        return False

    def _names_run(self, line: str) -> bool:
        return self._run.run_id in line or self._run.workflow_id in line

    # --- as they print ---------------------------------------------------------------------

    @contextmanager
    def following(self) -> Iterator[PodLogs]:
        """Print lines as they come, for the length of the block."""
        stop = threading.Event()
        readers: _Readers = {}
        looking = threading.Thread(target=self._look, args=(stop, readers), daemon=True)
        looking.start()
        try:
            yield self
            _end(stop, looking, readers)
            self._catch_up()
        finally:
            _end(stop, looking, readers)

    def _look(
        self,
        stop: threading.Event,
        readers: _Readers,
    ) -> None:
        """Begin to follow each pod as it becomes known."""
        while not stop.is_set():
            own = self._own()
            for pod in self._pods(own):
                if pod in readers or stop.is_set():
                    continue
                process = self._kubectl.start(*self._words(pod), "--follow")
                reader = threading.Thread(
                    target=self._follow, args=(pod, process, pod in own), daemon=True
                )
                readers[pod] = (process, reader)
                reader.start()
            stop.wait(_LOOK_AGAIN)

    def _follow(self, pod: str, process: subprocess.Popen[str], own: bool) -> None:
        assert process.stdout is not None
        with process.stdout:
            for each in process.stdout:
                at, line = _split(each.rstrip("\n"))
                if self._belongs(line, own):
                    self._print(at, f"{pod} {line}")

    def _catch_up(self) -> None:
        """Print what was on its way when the run ended."""
        own = self._own()
        for at, line in merge(*(self._read(pod, own=pod in own) for pod in self._pods(own))):
            self._print(at, line)

    def _print(self, at: str, line: str) -> None:
        if (at, line) not in self._printed:
            self._printed.add((at, line))
            print_line(line)


def _split(line: str) -> tuple[str, str]:
    """Return a line's time, as kubectl writes it before the line, and the line."""
    at, _, rest = line.partition(" ")
    return at, rest


def _end(stop: threading.Event, looking: threading.Thread, readers: _Readers) -> None:
    stop.set()
    looking.join(_STOP_TIMEOUT)
    for process, reader in readers.values():
        process.terminate()
        process.wait(_STOP_TIMEOUT)
        reader.join(_STOP_TIMEOUT)
