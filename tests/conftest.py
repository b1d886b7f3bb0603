"""What all tests share."""

from __future__ import annotations

import asyncio
import os

import pytest
from hypothesis import settings

settings.register_profile("ci", derandomize=True, deadline=None)
settings.register_profile("nightly", max_examples=2_000, deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))


@pytest.fixture(autouse=True, scope="session")
def _no_loop_by_default() -> None:
    # looptime asks for the thread's loop in every test; without this asyncio makes one for the
    # answer, which nobody closes, and a later garbage collection warns of it.
    asyncio.set_event_loop(None)
