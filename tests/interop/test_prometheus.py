"""Prometheus itself scrapes a server and an operator at work, and evaluates what we ship.

What the dashboard shows and what the alerts watch must be there, under these names and labels.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
import yaml

from support.cluster import Cluster
from support.cluster_tools import run
from support.interop_programs import program
from support.interop_prometheus import CHART, NAMESPACE, Prometheus, prometheus
from support.operator_processes import Operator
from support.operator_scene import a_pool, a_workflow

PANELS = [
    panel
    for row in yaml.safe_load((CHART / "files" / "dashboard.yaml").read_text())
    for panel in row["panels"]
]
QUERIES = {
    f"{panel['title']}: {query['legend']}": query["expr"]
    .replace("$__rate_interval", "1m")
    .replace("$namespace", NAMESPACE)
    for panel in PANELS
    for query in panel["queries"]
}

pytestmark = pytest.mark.timeout(3600)


@pytest.fixture(scope="module")
def operator(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Operator]:
    """A server, an operator and a worker, with a run that waits."""
    folder = tmp_path_factory.mktemp("scene")
    with cluster.namespace("metrics") as namespace, Operator(cluster, namespace, folder) as own:
        pool = a_pool("orders", code={"configMap": "code"})
        code = {"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": "code"}}
        own.apply(code | {"data": {"hello.py": (folder / "hello.py").read_text()}}, pool)
        own.apply(a_workflow("first", type="Hello", input=["ann"], workerPool="orders"))
        own.start_worker(own.the_job())
        yield own


@pytest.fixture(scope="module")
def running(operator: Operator, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """A Prometheus that has scraped both for a while, during which a run ended."""
    targets = {"server": operator.server.address, "operator": operator.health}
    addresses = {name: each.removeprefix("http://") for name, each in targets.items()}
    with prometheus(addresses, tmp_path_factory.mktemp("prometheus")) as running:
        running.eventually(
            lambda: len(running.query("up == 1")) == len(targets), "both targets are scraped"
        )
        operator.apply(a_workflow("second", type="Hello", input=["bob"], workerPool="orders"))
        operator.phase("workflow", "second", "Running")
        approval = {"spec": {"signals": [{"id": "a", "name": "approve", "input": []}]}}
        operator.patch("workflow", "second", approval)
        operator.phase("workflow", "second", "Succeeded")
        running.eventually(
            lambda: bool(
                running.query('rate(perdure_runs_closed_total{status="Completed"}[1m]) > 0')
            ),
            "the end of the run is counted",
        )
        yield running


@pytest.mark.parametrize("where", ["server", "operator"])
def test_names_and_texts_are_as_prometheus_wants_them(where: str, operator: Operator) -> None:
    assert run([program("promtool"), "check", "metrics"], input=page(operator, where)) == ""


def page(operator: Operator, where: str) -> str:
    """Return what a process tells of itself."""
    address = operator.server.address if where == "server" else operator.health
    base = address if "://" in address else f"http://{address}"
    with urlopen(f"{base}/metrics") as answer:
        text: str = answer.read().decode()
    return text


@pytest.mark.parametrize("query", QUERIES.values(), ids=QUERIES)
def test_a_query_of_the_dashboard_shows_something(query: str, running: Prometheus) -> None:
    assert running.query(query), "Grafana would show an empty panel"


def test_the_rules_are_evaluated_and_nothing_fires(running: Prometheus) -> None:
    groups = running.ask("rules")["groups"]
    rules = [rule for group in groups for rule in group["rules"]]

    assert {rule["health"] for rule in rules} == {"ok"}
    assert [rule["name"] for rule in rules if rule["state"] == "firing"] == []


def test_no_label_takes_what_users_write(operator: Operator, running: Prometheus) -> None:
    """Whoever may start runs cannot fill Prometheus' memory."""
    before = series(page(operator, "server"))
    for number in range(100):
        for verb, request in hostile(number):
            call(operator, verb, request)
    after = series(page(operator, "server"))

    # New series are those of verbs and outcomes that were not met before.
    assert {name for name in after - before if "hostile" in name} == set()
    assert len(after - before) < 60


def hostile(number: int) -> Iterator[tuple[str, dict[str, object]]]:
    """Yield requests in which all that a user can name is a name of its own."""
    place = {"namespace": f"hostile-{number}", "workflow_id": f"hostile-{number}"}
    yield (
        "start",
        {
            **place,
            "workflow_type": f"hostile-{number}",
            "task_queue": f"hostile-{number}",
            "request_id": f"hostile-{number}",
        },
    )
    yield "signal", {**place, "name": f"hostile-{number}"}
    yield "describe", {**place, "workflow_id": f"hostile-no-{number}"}
    yield f"hostile-{number}", {}


def call(operator: Operator, verb: str, body: dict[str, object]) -> None:
    """Call a verb, whatever comes of it."""
    address = operator.server.address
    base = address if "://" in address else f"http://{address}"
    headers = {"Content-Type": "application/json"}
    request = Request(f"{base}/api/v1/{verb}", json.dumps(body).encode(), headers)
    with suppress(HTTPError):
        urlopen(request).close()


def series(text: str) -> set[str]:
    """Return the series of a page, without their values."""
    return {line.rpartition(" ")[0] for line in text.splitlines() if not line.startswith("#")}
