"""Tests on a real cluster with real pods.

The first of them may wait for the cluster to boot, and on a new machine to be compiled, so the
time limit holds for the tests and not for their fixtures. The chart is installed once, and each
test works in a namespace of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.cluster import Cluster
from support.cluster_fixtures import (
    FAILED,
    ClusterImages,
    announce,
    cluster,
    images,
    namespace,
    pytest_runtest_makereport,
)
from support.e2e import Release, Team, installed
from support.e2e_killing import Killer, a_killer

__all__ = ["announce", "cluster", "images", "namespace", "pytest_runtest_makereport"]

LIMIT = 300  # seconds a test


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give each test of this folder a time limit, if it has none of its own."""
    for item in items:
        if Path(__file__).parent in item.path.parents and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(LIMIT, func_only=True))


@pytest.fixture(scope="session")
def release(cluster: Cluster, images: ClusterImages) -> Iterator[Release]:
    """The chart, installed in a namespace that enforces Pod Security "restricted"."""
    with installed(cluster, images) as release:
        yield release


@pytest.fixture(scope="session")
def killer(cluster: Cluster, images: ClusterImages) -> Iterator[Killer]:
    """What kills processes in containers."""
    with a_killer(cluster, images.worker) as killer:
        yield killer


@pytest.fixture
def team(
    cluster: Cluster, release: Release, namespace: str, request: pytest.FixtureRequest
) -> Iterator[Team]:
    """Users of the release, in a namespace of their own."""
    release.teams.add(namespace)
    release.wait_ready()
    yield Team(cluster=cluster, release=release, namespace=namespace)
    if request.node.stash.get(FAILED, False):
        print(release.logs())
