"""A ``kubectl`` for tests of the command line: a program on the PATH that answers from a file.

It writes each command line down. ``port-forward`` says that it forwards, from a port that a test
chose, and stays until it is ended or its stop file appears.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PROGRAM = """#!{python}
import json, os, pathlib, sys, time
folder = pathlib.Path({folder!r})
words = sys.argv[1:]
answers = json.loads((folder / "answers.json").read_text())
stdin = "" if sys.stdin is None or not "-f -" in " ".join(words) else sys.stdin.read()
with (folder / "calls").open("a") as calls:
    calls.write(json.dumps({{"words": words, "stdin": stdin}}) + "\\n")
line = " ".join(words)
if "port-forward" in words:
    if answers.get("port-forward-fails"):
        sys.exit(answers["port-forward-fails"])
    print("Forwarding from 127.0.0.1:%d -> 7233" % answers["port"], flush=True)
    while not (folder / "stop").exists():
        time.sleep(0.01)
    (folder / "stop").unlink()
    sys.exit(1)
for part, answer in answers["answers"]:
    if part in line:
        if answer.get("fails"):
            sys.exit(answer["fails"])
        print(answer["says"] if "says" in answer else json.dumps(answer["data"]))
        sys.exit(0)
sys.exit("no answer for " + line)
"""

CONTEXT = {"contexts": [{"name": "prod", "context": {"namespace": "shop", "user": "ann"}}]}


def service(namespace: str, *, tickets: bool = False, scheme: str = "http") -> dict[str, Any]:
    notes = {"perdure.dev/scheme": scheme, "perdure.dev/tickets": str(tickets).lower()}
    return {
        "metadata": {"namespace": namespace, "name": "perdure-server", "annotations": notes},
        "spec": {"ports": [{"port": 7233}]},
    }


def services(*found: dict[str, Any]) -> dict[str, Any]:
    return {"data": {"items": list(found)}}


@dataclass
class FakeKubectl:
    """The program, in a folder of its own that is first on the PATH."""

    folder: Path
    port: int = 1
    """Where ``port-forward`` says that it forwards from."""

    def install(self) -> str:
        """Write the program; return the PATH with which it is found."""
        program = self.folder / "kubectl"
        program.write_text(PROGRAM.format(python=sys.executable, folder=str(self.folder)))
        program.chmod(0o755)
        self.answer([])
        return f"{self.folder}{os.pathsep}{os.environ['PATH']}"

    def answer(self, answers: list[tuple[str, dict[str, Any]]], **others: Any) -> None:
        """Say what is answered, by a part of the command line; the first that fits."""
        content = {"answers": answers, "port": self.port, **others}
        (self.folder / "answers.json").write_text(json.dumps(content))

    @property
    def calls(self) -> list[dict[str, Any]]:
        """What it was asked."""
        path = self.folder / "calls"
        lines = path.read_text().splitlines() if path.exists() else []
        return [json.loads(line) for line in lines]

    def called(self, part: str) -> list[str]:
        """Return the command lines with ``part`` in them."""
        lines = [" ".join(each["words"]) for each in self.calls]
        return [line for line in lines if part in line]
