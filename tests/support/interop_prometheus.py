"""A Prometheus of the tests' own, and what they ask it."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.parse import urlencode
from urllib.request import urlopen

import yaml

from support.cluster_tools import CHECKOUT, run, tools
from support.interop_programs import program
from support.processes import Process

CHART = CHECKOUT / "charts" / "perdure"
NAMESPACE = "engine"


def write_rules(folder: Path) -> Path:
    """Write the rules as the Prometheus operator does with what the chart renders."""
    command = [tools().helm, "template", "perdure", "-n", NAMESPACE, CHART]
    manifests = yaml.safe_load_all(run([*command, "--set=monitoring.rules.enabled=true"]))
    (rule,) = [each for each in manifests if each and each["kind"] == "PrometheusRule"]
    file = folder / "rules.yaml"
    file.write_text(yaml.safe_dump(rule["spec"]), encoding="utf-8")
    return file


class Prometheus:
    """A running Prometheus."""

    def __init__(self, url: str) -> None:
        self._url = url

    def ask(self, path: str, **parameters: str) -> Any:
        """Return what it answers to a call of its API."""
        with urlopen(f"{self._url}/api/v1/{path}?{urlencode(parameters)}") as answer:
            told = json.load(answer)
        assert told["status"] == "success", told
        return told["data"]

    def query(self, expression: str) -> list[dict[str, Any]]:
        """Return the samples that an expression gives now."""
        result: list[dict[str, Any]] = self.ask("query", query=expression)["result"]
        return result

    def eventually(self, holds: Callable[[], bool], what: str) -> None:
        """Ask until it holds, or fail after half a minute."""
        until = time.monotonic() + 60
        while time.monotonic() < until:
            try:
                if holds():
                    return
            except URLError:
                pass  # it has not started yet
            time.sleep(0.5)
        raise AssertionError(f"{what}: not within a minute")


@contextmanager
def prometheus(targets: Mapping[str, str], folder: Path) -> Iterator[Prometheus]:
    """Run Prometheus with our rules on targets, each ``host:port`` by the name of its job."""
    config = folder / "prometheus.yaml"
    scrapes = [
        {
            "job_name": job,
            "static_configs": [{"targets": [address], "labels": {"namespace": NAMESPACE}}],
        }
        for job, address in targets.items()
    ]
    content = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(write_rules(folder))],
        "scrape_configs": scrapes,
    }
    config.write_text(json.dumps(content), encoding="utf-8")
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    command = [str(program("prometheus")), f"--config.file={config}"]
    command += [f"--storage.tsdb.path={folder / 'data'}", f"--web.listen-address={address}"]
    with Process(command, folder / "prometheus.log"):
        yield Prometheus(f"http://{address}")
