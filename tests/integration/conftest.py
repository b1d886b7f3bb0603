"""What the tests on real processes share.

Most of them play on one server, each in a namespace of its own. Those that hurt a server start
their own (``own_scene``). Those about Kubernetes have an API server, one for each module.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator

import pytest

from perdure.client import Client
from support.cluster_fixtures import announce, cluster_without_nodes
from support.processes import ROOT, Server, Worker
from support.scenes import Scene

__all__ = ["announce", "cluster_without_nodes"]

WORKFLOWS = ROOT / "tests" / "support" / "workflows.py"
QUEUE = "default"


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that nobody may hurt."""
    folder = tmp_path_factory.mktemp("server")
    with Server(folder / "perdure.db", log=folder / "server.log") as server:
        yield server


@pytest.fixture(scope="session")
def worker(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    """A worker that nobody may hurt, with the code of ``support/workflows.py``."""
    log = tmp_path_factory.mktemp("worker") / "worker.log"
    with Worker(server.address, str(WORKFLOWS), log=log) as worker:
        yield worker


@pytest.fixture
async def client(server: Server, worker: Worker) -> AsyncIterator[Client]:
    """A client where the shared worker is."""
    async with await Client.connect(server.address) as client:
        yield client


@pytest.fixture
def scene(
    server: Server, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[Scene]:
    """A scene on the shared server, in a namespace of its own."""
    folder = tmp_path_factory.mktemp("scene")
    with Scene(folder, server, namespace=_name(request)) as scene:
        yield scene
        _show_logs(scene)


@pytest.fixture
def own_scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """A scene that starts its own server."""
    with Scene(tmp_path_factory.mktemp("scene")) as scene:
        yield scene
        _show_logs(scene)


@pytest.fixture
def new_scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """A second scene that starts its own server: runs may go there."""
    with Scene(tmp_path_factory.mktemp("new")) as scene:
        yield scene


def _name(request: pytest.FixtureRequest) -> str:
    return re.sub(r"[^a-z0-9]+", "-", request.node.name.lower()).strip("-")[:63]


def _show_logs(scene: Scene) -> None:
    """Print what the processes wrote: pytest shows it when the test failed."""
    for log in sorted(scene.folder.glob("*.log")):
        print(f"--- {log.name}\n{log.read_text()[-4000:]}")
