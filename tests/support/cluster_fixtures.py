"""The fixtures of tests on a real cluster; a conftest imports those that its folder uses.

``cluster`` runs pods and has the two ``images``; where no pod has to run, it is
``cluster_without_nodes`` that goes by this name. Either is started when first asked for.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator
from dataclasses import dataclass

import pytest

from support.cluster import Cluster, a_cluster
from support.cluster_images import OPERATOR, WORKER, build_images
from support.cluster_tools import Announce

FAILED = pytest.StashKey[bool]()


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterImages:
    """The names under which the cluster has the project's images."""

    worker: str
    operator: str


@pytest.fixture(scope="session")
def announce(pytestconfig: pytest.Config) -> Announce:
    """Say on the terminal what takes long, past the capture of output."""
    manager = pytestconfig.pluginmanager.getplugin("capturemanager")

    def say(text: str) -> None:
        with manager.global_and_fixture_disabled():
            print(f"\n[{text}]", flush=True)

    return say


@pytest.fixture(scope="session")
def cluster(announce: Announce) -> Iterator[Cluster]:
    """A cluster that runs pods, for the whole session."""
    with a_cluster(nodes=True, announce=announce) as started:
        yield started


@pytest.fixture(scope="module", name="cluster")
def cluster_without_nodes(announce: Announce) -> Iterator[Cluster]:
    """An API server with its controllers and the definitions of this checkout; no pod runs."""
    with a_cluster(nodes=False, announce=announce) as started:
        started.define_resources()
        yield started


@pytest.fixture(scope="session")
def images(cluster: Cluster, announce: Announce) -> ClusterImages:
    """The images of this checkout, on the cluster's nodes.

    Where the cluster pulls them from a registry of its own, the environment names them.
    """
    worker = os.environ.get("PERDURE_TEST_WORKER_IMAGE")
    operator = os.environ.get("PERDURE_TEST_OPERATOR_IMAGE")
    if worker and operator:
        return ClusterImages(worker=worker, operator=operator)
    for archive in build_images(announce=announce).values():
        cluster.load_image(archive)
    return ClusterImages(worker=WORKER.name, operator=OPERATOR.name)


@pytest.fixture
def namespace(cluster: Cluster, request: pytest.FixtureRequest) -> Iterator[str]:
    """A fresh namespace of ``cluster``; what happened in it is shown when the test fails."""
    with cluster.namespace() as name:
        yield name
        if request.node.stash.get(FAILED, False):
            print(cluster.evidence(name))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Remember on the test that it failed, for its fixtures to know."""
    report = yield
    if report.failed:
        item.stash[FAILED] = True
    return report
