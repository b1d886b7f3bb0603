"""What all tests share."""

from __future__ import annotations

import asyncio
import os
import signal

import pytest
from hypothesis import settings

from support.cluster import a_cluster

settings.register_profile("ci", derandomize=True, deadline=None)
settings.register_profile("nightly", max_examples=2_000, deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))


# A shell that runs the tests in the background has SIGINT ignored, and children inherit that;
# what is handled here is back at its default in them.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True, scope="session")
def _no_loop_by_default() -> None:
    # looptime asks for the thread's loop in every test; without this asyncio makes one for the
    # answer, which nobody closes, and a later garbage collection warns of it.
    asyncio.set_event_loop(None)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that need a real cluster, by what they use rather than by hand."""
    for item in items:
        if _needs_cluster(item):
            item.add_marker(pytest.mark.cluster)


def _needs_cluster(item: pytest.Item) -> bool:
    if "cluster" in getattr(item, "fixturenames", ()):
        return True
    # A module that starts a cluster by itself has it from there.
    module = getattr(item, "module", None)
    return any(value is a_cluster for value in vars(module).values())
