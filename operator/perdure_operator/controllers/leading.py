"""Who leads: taking a Lease, renewing it, and seeing that another one has it.

One operator leads, the others look at the Lease now and then. :meth:`Elector.look` is one such
look; how things stand afterwards decides when the next one is. A leader that cannot renew has no
mandate any more and writes nothing, but goes on trying: nobody else can have taken the Lease
unseen, so if it is still there as it was, the same term goes on.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from perdure.protocol.fencing import FencingToken
from perdure_operator.cluster import (
    LEASES,
    Cluster,
    ClusterError,
    ConflictError,
    NotFoundError,
    ObjectRef,
    UnavailableError,
)
from perdure_operator.cluster.leases import (
    Lease,
    build_free,
    build_released,
    build_renewed,
    build_taken,
    read_lease,
)
from perdure_operator.controllers.mandates import Mandate

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseTimes:
    """How long, in seconds; all follow from how long a Lease is good."""

    lease: int = 10

    @property
    def mandate(self) -> float:
        """How long a leader may write after it asked for a renewal that was granted."""
        return self.lease * 2 / 3

    @property
    def renewal(self) -> float:
        """Between two renewals."""
        return self.lease / 5

    @property
    def look(self) -> float:
        """Between two looks of who waits."""
        return self.lease / 10

    @property
    def call(self) -> float:
        """For one call: two fit into a mandate."""
        return self.lease / 3


class Elector:
    """One candidate for a Lease.

    Args:
        cluster: A connection that nothing else uses, so that nothing can hold it up.
        ref: The Lease.
        identity: This candidate. One that comes back under the same one takes its Lease at once,
            so nobody else may have it.
        mandate: Extended and ended here.
        jitter: A number between 0 and 1 at random, so that candidates do not look in step.
    """

    def __init__(
        self,
        cluster: Cluster,
        ref: ObjectRef,
        identity: str,
        mandate: Mandate,
        *,
        times: LeaseTimes,
        jitter: Callable[[], float],
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.identity = identity
        self._cluster, self._ref, self._mandate = cluster, ref, mandate
        self._times, self._jitter, self._now = times, jitter, now
        self._clock = mandate.clock
        self._held: Lease | None = None
        self._seen: Lease | None = None
        self._seen_at = 0.0
        self._problem = ""

    @property
    def token(self) -> FencingToken | None:
        """Of the term that goes on; None while another one leads, or nobody."""
        return self._held.token if self._held is not None else None

    @property
    def holder(self) -> str:
        """Who leads, as far as is known; empty when nobody does."""
        known = self._held or self._seen
        return known.holder if known is not None else ""

    async def until_leading(self) -> FencingToken:
        """Return the token of a term, once this candidate has one."""
        pause = 0.0
        while self._held is None:
            await self._look_after(pause)
            pause = self._times.look
        return self._held.token

    async def while_leading(self) -> None:
        """Renew the Lease, and return once another one has it."""
        while self._held is not None:
            # While it cannot be renewed every moment counts.
            pause = self._times.renewal if self._mandate.is_good else self._times.look
            await self._look_after(pause)

    async def _look_after(self, pause: float) -> None:
        await asyncio.sleep(pause * (0.8 + 0.2 * self._jitter()))
        try:
            await self.look()
        except ClusterError as error:
            # That the API server is away is said once for all (:mod:`.outages`).
            is_told = bool(self._problem) or isinstance(error, UnavailableError)
            if not is_told:
                logger.warning("the lease %s cannot be looked after: %s", self._ref, error)
            self._problem = str(error)
        else:
            self._problem = ""

    async def look(self) -> None:
        """Renew the Lease, or see whether it is free and take it.

        Raises:
            ClusterError: The API server did not do its part; what was held may still be.
        """
        if self._held is None:
            await self._try_to_take()
            return
        try:
            await self._renew(self._held)
        except (ConflictError, NotFoundError):
            # Perhaps our own renewal, whose answer did not arrive; perhaps somebody else.
            await self._see_what_became_of_it(self._held)

    async def step_down(self) -> None:
        """Take it that another one leads, whatever the Lease says; a later look knows better."""
        self._mandate.end()
        self._held = None
        await asyncio.sleep(self._times.look)

    async def release(self) -> None:
        """Let another one lead at once. Nothing may be written any more."""
        self._mandate.end()
        held, self._held = self._held, None
        if held is None:
            return
        try:
            await self._cluster.apply(LEASES, build_released(held, self._now()))
        except ClusterError as error:
            logger.warning("the lease was not released and has to expire: %s", error)

    async def _renew(self, held: Lease) -> None:
        began = self._clock()
        body = await self._cluster.apply(LEASES, build_renewed(held, self._now()))
        self._hold(read_lease(body), began)

    async def _see_what_became_of_it(self, held: Lease) -> None:
        body = await self._cluster.get(LEASES, self._ref)
        found = None if body is None else read_lease(body)
        if found is not None and found.holder == self.identity and found.token == held.token:
            await self._renew(found)
            return
        self._mandate.end()
        self._held = None
        logger.warning("the lead was lost to %s", found.holder if found is not None else "nobody")

    async def _try_to_take(self) -> None:
        began = self._clock()
        body = await self._cluster.get(LEASES, self._ref)
        if body is None and self._seen is not None and not self._is_free(self._seen):
            # Somebody deleted it under its holder, who may still write, and will make it anew.
            return
        try:
            if body is None:
                body = await self._cluster.create(LEASES, build_free(self._ref))
            found = read_lease(body)
            if self._seen is None or self._seen.version != found.version:
                self._seen, self._seen_at = found, self._clock()
            if self._is_free(found):
                taken = build_taken(found, self.identity, self._times.lease, self._now())
                self._hold(read_lease(await self._cluster.apply(LEASES, taken)), began)
        except ConflictError:
            # Another one was faster.
            return

    def _is_free(self, lease: Lease) -> bool:
        if lease.holder in {"", self.identity}:
            return True
        return self._clock() >= self._seen_at + lease.seconds

    def _hold(self, lease: Lease, began: float) -> None:
        # From when it was asked for: it may have been granted at any time since.
        self._held, self._seen = lease, None
        self._mandate.extend(began + self._times.mandate)
