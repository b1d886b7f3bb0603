"""How fast the operator may call the API server; in virtual time."""

from __future__ import annotations

import asyncio

import pytest

from perdure_operator.cluster.limiter import RateLimiter

pytestmark = pytest.mark.looptime


async def calls(limiter: RateLimiter, count: int) -> list[float]:
    """Return when each of so many calls at once went through."""
    loop = asyncio.get_running_loop()
    began = loop.time()

    async def call() -> float:
        await limiter.wait()
        return loop.time() - began

    return sorted(await asyncio.gather(*(call() for _ in range(count))))


async def test_a_burst_goes_through_at_once_and_the_rest_at_the_rate() -> None:
    times = await calls(RateLimiter(rate=10, burst=5), 15)

    assert times[:5] == [0.0] * 5
    assert times[5:] == pytest.approx([n / 10 for n in range(1, 11)])


async def test_a_pause_fills_the_burst_again_and_no_more() -> None:
    limiter = RateLimiter(rate=10, burst=5)
    await calls(limiter, 5)
    await asyncio.sleep(100)
    times = await calls(limiter, 6)

    assert times == pytest.approx([0, 0, 0, 0, 0, 0.1])


async def test_a_steady_caller_within_the_rate_never_waits() -> None:
    limiter = RateLimiter(rate=10, burst=1)
    for _ in range(20):
        assert await calls(limiter, 1) == [0.0]
        await asyncio.sleep(0.1)


async def test_after_a_pause_callers_come_one_after_the_other() -> None:
    limiter = RateLimiter(rate=10, burst=20)
    loop = asyncio.get_running_loop()
    limiter.pause(5)
    began = loop.time()
    times = []
    for _ in range(3):
        await limiter.wait()
        times.append(round(loop.time() - began, 3))

    assert times == [5.1, 5.2, 5.3]
