"""A server and an operator as processes, against a real API server without nodes."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

from support.cluster import Cluster, Manifest
from support.processes import Process, Server, Worker

CODE = """
from datetime import timedelta

from perdure import activity, workflow


@activity.defn(name="greet")
async def greet(name: str) -> str:
    return f"hello {name}"


@activity.defn(name="stumble")
async def stumble(until: int) -> int:
    if activity.info().attempt < until:
        raise RuntimeError("stumbled")
    return activity.info().attempt


@workflow.defn(name="Hello")
class Hello:
    def __init__(self) -> None:
        self.approved = False

    @workflow.run
    async def run(self, name: str) -> str:
        said = await workflow.execute_activity(
            greet, name, start_to_close_timeout=timedelta(seconds=10)
        )
        await workflow.wait_condition(lambda: self.approved)
        return said

    @workflow.signal
    def approve(self) -> None:
        self.approved = True


@workflow.defn(name="Squares")
class Squares:
    @workflow.run
    async def run(self, number: int) -> int:
        timeout = timedelta(seconds=10)
        return sum(
            await workflow.map_activities(square, range(number), start_to_close_timeout=timeout)
        )


@activity.defn(name="square")
async def square(number: int) -> int:
    return number * number
"""


class Operator:
    """A server and an operator, on one namespace of a cluster; either can be killed."""

    def __init__(self, cluster: Cluster, namespace: str, folder: Path) -> None:
        self.cluster, self.namespace, self.folder = cluster, namespace, folder
        self._stack = ExitStack()
        self._workers = 0

    def __enter__(self) -> Operator:
        (self.folder / "hello.py").write_text(CODE)
        self.start_server()
        self.start_operator()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()
        for log in sorted(self.folder.glob("*.log")):
            print(f"--- {log.name}\n{log.read_text()[-6000:]}")

    # --- processes -------------------------------------------------------------------------

    def start_server(self, port: int = 0) -> None:
        db, log = self.folder / "perdure.db", self.folder / "server.log"
        self.server = self._stack.enter_context(Server(db, port=port, log=log))

    def start_operator(self) -> None:
        address = f"http://127.0.0.1:{self.server.port}"
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.health = f"http://127.0.0.1:{free.getsockname()[1]}"
        command = [str(Path(sys.executable).with_name("perdure-operator"))]
        command += ["--server", address, "--namespace", self.namespace]
        command += ["--default-image", "perdure-worker:test"]
        command += ["--liveness-port", self.health.rpartition(":")[2]]
        environment = {"KUBECONFIG": str(self.cluster.kubeconfig)}
        process = Process(command, self.folder / "operator.log", environment)
        self.operator = self._stack.enter_context(process)
        self.cluster.eventually(self.is_alive, what="the operator is alive")

    def is_alive(self) -> bool:
        try:
            with urlopen(f"{self.health}/healthz") as answer:
                return bool(answer.status == 200)
        except URLError:
            return False

    def run_container(self, job: dict[str, Any]) -> None:
        """Run what the container of an activity would run, and end its pod as that ends."""
        (container,) = job["spec"]["template"]["spec"]["containers"]
        given = {each["name"]: each["value"] for each in container["env"]}
        # What the kubelet and the volume do for it.
        env = {name: value.replace("$$", "$") for name, value in given.items()}
        pod = job["spec"]["template"]["metadata"]
        files = {
            "PERDURE_INPUT_FILE": self.folder / "in",
            "PERDURE_RESULT_FILE": self.folder / "out",
        }
        files["PERDURE_INPUT_FILE"].write_text(pod["annotations"]["perdure.dev/input"])
        files["PERDURE_RESULT_FILE"].write_text("")
        env |= {name: str(path) for name, path in files.items()}
        words = [*container["command"], *container.get("args", ())]
        command = [word.replace("$(PERDURE_INPUT)", env["PERDURE_INPUT"]) for word in words]
        ended = subprocess.run(
            command, env={**os.environ, **env}, capture_output=True, text=True, check=False
        )
        said = files["PERDURE_RESULT_FILE"].read_text()
        # FallbackToLogsOnError: the end of its output, when it failed and wrote nothing.
        message = said or (ended.stdout + ended.stderr if ended.returncode else "")
        self.end_pod(job, exit_code=ended.returncode, message=message, container="main")

    def start_worker(self, job: dict[str, Any], *, folder: Path | None = None) -> Worker:
        """Run what the Job's pod would run, with the code in ``folder`` (or everybody's)."""
        (container,) = job["spec"]["template"]["spec"]["containers"]
        module, options = container["args"][0], container["args"][1:]
        self._workers += 1
        log = self.folder / f"worker-{self._workers}.log"
        address = f"127.0.0.1:{self.server.port}"
        code = str(folder or self.folder)
        worker = Worker(
            address,
            module,
            log=log,
            env={"PYTHONPATH": os.pathsep.join([code, *sys.path])},
            options=tuple(options),
        )
        return self._stack.enter_context(worker)

    # --- the cluster -----------------------------------------------------------------------

    def apply(self, *manifests: Manifest) -> str:
        local = [json.loads(json.dumps(each)) for each in manifests]
        for each in local:
            each["metadata"]["namespace"] = self.namespace
        return self.cluster.apply(*local, namespace=self.namespace)

    def patch(self, what: str, name: str, patch: dict[str, Any], *options: str) -> None:
        text = json.dumps(patch)
        arguments = ("patch", what, name, "-n", self.namespace, "--type=merge", "-p", text)
        self.cluster.kubectl(*arguments, *options)

    def get(self, what: str, name: str) -> dict[str, Any]:
        return self.cluster.get(what, name, namespace=self.namespace)

    def items(self, what: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.cluster.get(what, namespace=self.namespace)["items"]
        return found

    def condition(self, what: str, name: str, type_: str) -> tuple[str, str, str]:
        """Return status, reason and message; raises KeyError while there is none."""
        conditions = {c["type"]: c for c in self.get(what, name)["status"]["conditions"]}
        found = conditions[type_]
        return found["status"], found["reason"], found.get("message", "")

    def eventually(self, holds: Callable[[], bool], what: str) -> None:
        self.cluster.eventually(holds, what=what, timeout=30)

    def phase(self, what: str, name: str, phase: str) -> None:
        """Wait for a phase."""
        self.eventually(
            lambda: self.get(what, name)["status"]["phase"] == phase, f"{name} is {phase}"
        )

    def the_job(self) -> dict[str, Any]:
        """Wait for the one Job that there is to be."""
        self.eventually(lambda: len(self.items("jobs")) == 1, "there is one Job")
        (job,) = self.items("jobs")
        return job

    def end_pod(
        self, job: dict[str, Any], *, exit_code: int, message: str = "", container: str = "worker"
    ) -> None:
        """Say in the kubelet's place how the Job's pod ended."""
        name = job["metadata"]["name"]
        selector = ("-l", f"batch.kubernetes.io/job-name={name}")
        pods = self.cluster.get("pods", *selector, namespace=self.namespace)["items"]
        terminated = {"exitCode": exit_code, "message": message, "reason": "Error"}
        status = {
            "phase": "Failed" if exit_code else "Succeeded",
            "containerStatuses": [
                {
                    "name": container,
                    "image": "x",
                    "imageID": "x",
                    "ready": False,
                    "restartCount": 0,
                    "state": {"terminated": terminated},
                }
            ],
        }
        self.patch("pod", pods[0]["metadata"]["name"], {"status": status}, "--subresource=status")


def runs_started(operator: Operator) -> int:
    """Return how many runs the server has of the namespace."""
    command = [str(Path(sys.executable).with_name("perdure")), "list", "--output", "json"]
    command += ["--address", f"127.0.0.1:{operator.server.port}"]
    command += ["--namespace", operator.namespace]
    log = operator.folder / "list.err"
    with Process(command, log) as process:
        assert process._process.stdout is not None
        text = process._process.stdout.read().decode()
    return len(json.loads(text))
