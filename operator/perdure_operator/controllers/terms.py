"""Terms: everything that acts runs while this operator leads, and is gone before another one does.

What a term remembers is thrown away with it. A term that ends because the lease was lost is
followed by standing by; one that ends for any other reason ends the operator.
"""

from __future__ import annotations

import asyncio
import logging
import random
import socket
import uuid
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any

from perdure.protocol.fencing import FencingToken
from perdure_operator.cluster import Cluster, NotLeadingError
from perdure_operator.controllers.leading import Elector, LeaseTimes
from perdure_operator.controllers.mandates import Mandate
from perdure_operator.controllers.options import Options

logger = logging.getLogger(__name__)

Work = Coroutine[Any, Any, None]
Term = Callable[[FencingToken | None, Sequence[Work]], Awaitable[None]]
"""Runs everything that acts, and what else it is given, until one of it ends."""


def build_elector(options: Options, cluster: Cluster, mandate: Mandate) -> Elector | None:
    """Return the candidate, or None for an operator that is alone."""
    if options.lease is None:
        return None
    return Elector(
        cluster,
        options.lease,
        options.identity or f"{socket.gethostname()}_{uuid.uuid4().hex[:8]}",
        mandate,
        times=LeaseTimes(lease=options.lease_seconds),
        jitter=random.random,
    )


async def take_part(elector: Elector | None, term: Term) -> None:
    """Lead whenever it is this operator's turn, until a term ends by itself."""
    if elector is None:
        await term(None, ())
        return
    try:
        while True:
            logger.info("standing by as %s", elector.identity)
            token = await elector.until_leading()
            try:
                await term(token, (elector.while_leading(),))
            except NotLeadingError as error:
                # The server knows of a later term before the Lease was looked at.
                logger.warning("%s", error)
                await elector.step_down()
            if elector.token is not None:
                return
    finally:
        # Everything that writes is gone by now, so another one may begin at once.
        await elector.release()


async def until_one_ends(tasks: Sequence[asyncio.Task[None]]) -> None:
    """Wait for the first task to end, stop the others, and raise what it failed with."""
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for task in done:
        task.result()
