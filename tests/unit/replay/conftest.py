from __future__ import annotations

from collections.abc import Iterator

import pytest

from support.histories import open_drivers


@pytest.fixture(autouse=True)
def close_runs() -> Iterator[None]:
    """Tear down what a test leaves open: the garbage collector would complain of it."""
    yield
    while open_drivers:
        open_drivers.pop().evict()
