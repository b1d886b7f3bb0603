"""Tests on a real cluster with real pods.

The first of them may wait for the cluster to boot, and on a new machine to be compiled, so the
time limit holds for the tests and not for their fixtures.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from support.cluster_fixtures import (
    announce,
    cluster,
    images,
    namespace,
    pytest_runtest_makereport,
)

__all__ = ["announce", "cluster", "images", "namespace", "pytest_runtest_makereport"]

LIMIT = 300  # seconds a test


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give each test of this folder its time limit."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.timeout(LIMIT, func_only=True), append=False)
