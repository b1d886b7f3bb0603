"""Candidates for one Lease, in virtual time: one leads, and nobody else writes."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest

from perdure.protocol.fencing import FencingToken
from perdure_operator.cluster import (
    LEASES,
    ForbiddenError,
    Manifest,
    NotLeadingError,
    ObjectKind,
    ObjectRef,
    UnavailableError,
)
from perdure_operator.controllers.leading import Elector, LeaseTimes
from perdure_operator.controllers.mandates import Mandate, for_good
from support.fake_cluster import FakeCluster

pytestmark = pytest.mark.looptime

LEASE = ObjectRef(namespace="perdure", name="operator")
TIMES = LeaseTimes(lease=10)
AWAY = UnavailableError("lease", "the API server was not reached")


def now() -> float:
    return asyncio.get_running_loop().time()


class Candidate:
    """An operator, as far as the lease is concerned."""

    def __init__(self, cluster: FakeCluster, name: str) -> None:
        self.mandate = Mandate(clock=now)
        self.elector = Elector(
            cluster,
            LEASE,
            name,
            self.mandate,
            times=TIMES,
            jitter=lambda: 1.0,
            now=lambda: datetime.fromtimestamp(1_800_000_000 + now(), UTC),
        )
        self.terms: list[FencingToken] = []
        self.task = asyncio.create_task(self._take_part())

    async def _take_part(self) -> None:
        while True:
            self.terms.append(await self.elector.until_leading())
            await self.elector.while_leading()

    @property
    def may_write(self) -> bool:
        return self.mandate.is_good

    async def die(self) -> None:
        """As by SIGKILL: nothing more is done."""
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)


class Deaf(FakeCluster):
    """A cluster that can be cut off, or do what it is asked without its answer arriving."""

    def __init__(self, inner: FakeCluster) -> None:
        super().__init__()
        self.inner = inner
        self.is_cut_off = False
        self.loses_answers = False

    async def get(self, kind: ObjectKind, ref: ObjectRef) -> Manifest | None:
        return await self._through(self.inner.get(kind, ref))

    async def create(self, kind: ObjectKind, manifest: Manifest) -> Manifest:
        found: Manifest = await self._through(self.inner.create(kind, manifest))
        return found

    async def apply(self, kind: ObjectKind, manifest: Manifest) -> Manifest:
        found: Manifest = await self._through(self.inner.apply(kind, manifest))
        if self.loses_answers:
            raise AWAY
        return found

    async def _through(self, call: Any) -> Any:
        if self.is_cut_off:
            call.close()
            raise AWAY
        return await call


async def test_the_first_leads_and_the_others_wait() -> None:
    cluster = FakeCluster()
    first = Candidate(cluster, "a")
    await asyncio.sleep(1)
    second = Candidate(cluster, "b")
    await asyncio.sleep(60)

    assert first.may_write
    assert [token.term for token in first.terms] == [1]
    assert not second.may_write
    assert second.terms == []
    assert second.elector.holder == "a"


async def test_of_many_that_start_at_once_one_leads() -> None:
    cluster = FakeCluster()
    candidates = [Candidate(cluster, name) for name in "abcdef"]
    for _ in range(100):
        await asyncio.sleep(0.5)
        assert sum(each.may_write for each in candidates) <= 1
    assert sum(each.may_write for each in candidates) == 1


async def test_a_dead_leaders_lease_is_taken_within_its_time() -> None:
    cluster = FakeCluster()
    first = Candidate(cluster, "a")
    await asyncio.sleep(5)
    second = Candidate(cluster, "b")
    await asyncio.sleep(20)
    await first.die()
    died = now()
    while not second.may_write:
        await asyncio.sleep(0.1)

    assert now() - died <= TIMES.lease + TIMES.look
    assert now() > died + TIMES.mandate - TIMES.renewal
    assert first.terms[0].is_older_than(second.terms[0])


async def test_a_released_lease_is_taken_at_once() -> None:
    cluster = FakeCluster()
    first, second = Candidate(cluster, "a"), Candidate(cluster, "b")
    await asyncio.sleep(20)
    leader, other = (first, second) if first.may_write else (second, first)
    await leader.die()
    await leader.elector.release()
    assert not leader.may_write
    await asyncio.sleep(TIMES.look)

    assert other.may_write
    assert leader.terms[0].is_older_than(other.terms[0])


async def test_who_cannot_renew_may_not_write_before_another_one_may() -> None:
    cluster = FakeCluster()
    deaf = Deaf(cluster)
    first = Candidate(deaf, "a")
    await asyncio.sleep(3)
    second = Candidate(cluster, "b")
    await asyncio.sleep(10)
    deaf.is_cut_off = True
    cut_off = now()
    while first.may_write:
        assert not second.may_write
        await asyncio.sleep(0.1)
    assert now() - cut_off <= TIMES.mandate
    silent = now()
    while not second.may_write:
        await asyncio.sleep(0.1)

    # What the first had sent at its last moment has had this time to arrive.
    assert now() - silent >= TIMES.lease - TIMES.mandate - TIMES.renewal
    deaf.is_cut_off = False
    await asyncio.sleep(5)
    assert not first.may_write
    assert first.elector.holder == "b"


async def test_who_could_not_renew_goes_on_in_its_term_when_nobody_took_the_lease() -> None:
    cluster = FakeCluster()
    deaf = Deaf(cluster)
    only = Candidate(deaf, "a")
    await asyncio.sleep(5)
    deaf.is_cut_off = True
    await asyncio.sleep(120)
    assert not only.may_write
    deaf.is_cut_off = False
    await asyncio.sleep(TIMES.look)

    assert only.may_write
    assert len(only.terms) == 1


async def test_a_renewal_whose_answer_was_lost_is_known_for_ones_own() -> None:
    cluster = FakeCluster()
    deaf = Deaf(cluster)
    only = Candidate(deaf, "a")
    await asyncio.sleep(5)
    deaf.loses_answers = True
    await asyncio.sleep(TIMES.renewal)
    deaf.loses_answers = False
    await asyncio.sleep(20)

    assert only.may_write
    assert len(only.terms) == 1


async def test_who_comes_back_under_its_name_leads_at_once_in_a_new_term() -> None:
    cluster = FakeCluster()
    first = Candidate(cluster, "pod-0")
    await asyncio.sleep(5)
    await first.die()
    again = Candidate(cluster, "pod-0")
    await asyncio.sleep(0.1)

    assert again.may_write
    assert first.terms[0].is_older_than(again.terms[0])


async def test_a_lease_that_somebody_deleted_stays_its_holders() -> None:
    cluster = FakeCluster()
    first = Candidate(cluster, "a")
    await asyncio.sleep(5)
    second = Candidate(cluster, "b")
    await asyncio.sleep(5)
    cluster.ask_to_delete(LEASES, LEASE)
    for _ in range(100):
        await asyncio.sleep(0.2)
        assert not second.may_write

    assert first.may_write
    assert len(first.terms) == 1


async def test_a_deleted_lease_of_a_dead_leader_is_taken_when_its_time_is_over() -> None:
    cluster = FakeCluster()
    first = Candidate(cluster, "a")
    await asyncio.sleep(5)
    second = Candidate(cluster, "b")
    await asyncio.sleep(5)
    await first.die()
    cluster.ask_to_delete(LEASES, LEASE)
    while first.may_write:
        assert not second.may_write
        await asyncio.sleep(0.1)
    await asyncio.sleep(TIMES.lease)
    assert second.may_write


async def test_a_lease_that_cannot_be_looked_after_is_said_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    cluster = FakeCluster()
    cluster.fail_with["get leases"] = ForbiddenError("get leases", "no right to get leases")
    only = Candidate(cluster, "a")
    await asyncio.sleep(60)
    assert [record.message for record in caplog.records if "no right" in record.message] == [
        "the lease perdure/operator cannot be looked after: get leases: no right to get leases"
    ]
    cluster.fail_with.clear()
    await asyncio.sleep(5)
    assert only.may_write


def test_a_mandate_ends_by_the_clock_alone() -> None:
    time = 0.0
    mandate = Mandate(clock=lambda: time)
    with pytest.raises(NotLeadingError, match="not sent"):
        mandate.require("delete jobs shop/orders-1")
    mandate.extend(5.0)
    mandate.require("create jobs")
    # The process was stopped here, and nothing of it has run since.
    time = 5.0
    with pytest.raises(NotLeadingError):
        mandate.require("create jobs")


def test_an_operator_that_is_alone_may_always_write() -> None:
    for_good().require("create jobs")
