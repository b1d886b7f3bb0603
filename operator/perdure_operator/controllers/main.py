"""The operator's process: everything is put together here, and nowhere else.

It holds nothing that cannot be found out again, so it may be killed and started at any time. One
replica is assumed; a second one would do the same things again, which is harmless, but twice the
work.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import sys
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from typing import Any

import kopf

from perdure.client import Service, TLSConfig, TokenFile
from perdure_operator.cluster import (
    ACTIVITIES,
    SCHEDULES,
    WORKER_POOLS,
    WORKFLOWS,
    ClusterError,
    ObjectKind,
)
from perdure_operator.cluster.api import KubernetesCluster, is_in_cluster, load_configuration
from perdure_operator.cluster.kinds import GROUP, VERSION
from perdure_operator.cluster.limiter import RateLimiter
from perdure_operator.controllers.applying import Applier
from perdure_operator.controllers.following import Follower
from perdure_operator.controllers.handlers import build_registry, build_settings
from perdure_operator.controllers.health import serve_health
from perdure_operator.controllers.intake import Intake
from perdure_operator.controllers.keys import RUNS
from perdure_operator.controllers.lanes import Lanes
from perdure_operator.controllers.memories import LatestBodies, PoolBook, QueueBook, Roster
from perdure_operator.controllers.metrics import Metrics
from perdure_operator.controllers.options import Options, parse_options
from perdure_operator.controllers.pools.access import WorkerDefaults
from perdure_operator.controllers.pools.reconciler import PoolReconciler
from perdure_operator.controllers.reconciling import Dispatcher, Reconciler
from perdure_operator.controllers.run_reconciling import (
    ActivityReconciler,
    WorkflowReconciler,
)
from perdure_operator.controllers.run_showing import RunShower
from perdure_operator.controllers.schedules.reconciler import ScheduleReconciler
from perdure_operator.controllers.service import NO_RETRIES, ServiceServer
from perdure_operator.controllers.world import World

logger = logging.getLogger(__name__)

POOL_WORKERS = 2
"""Pools that are looked at at once."""

CRD_INTERVAL = 2.0
"""Seconds between two looks for the CRDs, until they are there."""


def main() -> None:
    """Run the operator until it is told to stop."""
    options = parse_options()
    set_up_logging(options.log_level)
    try:
        asyncio.run(run(options))
    except KeyboardInterrupt:
        logger.info("stopped")


def set_up_logging(level: str) -> None:
    """Log lines to stderr, kopf's only when something is wrong."""
    logging.basicConfig(
        stream=sys.stderr,
        level=level.upper(),
        format="%(asctime)s %(levelname)-7s %(name)s: %(message)s",
    )
    if level != "debug":
        logging.getLogger("kopf").setLevel(logging.WARNING)


async def run(options: Options) -> None:
    """Run the operator until a signal stops it, or one of its tasks fails."""
    metrics = Metrics()
    async with AsyncExitStack() as stack:
        tasks: list[asyncio.Task[None]] = []
        await stack.enter_async_context(
            serve_health(
                options.liveness_port, metrics, lambda: not any(task.done() for task in tasks)
            )
        )
        cluster = await stack.enter_async_context(
            KubernetesCluster(
                await load_configuration(),
                limiter=RateLimiter(rate=options.qps, burst=int(2 * options.qps)),
                observe=metrics.api_call,
            )
        )
        service = await stack.enter_async_context(open_service(options))
        await wait_for_kinds(cluster)

        world = build_world(cluster, ServiceServer(service, observe=metrics.server_call), options)
        lanes = Lanes()
        metrics.watch_queue(lambda: lanes.ready, lambda: len(lanes), lambda: lanes.oldest)
        tasks += [asyncio.create_task(each) for each in _endless(options, world, lanes, metrics)]
        intake = Intake(world, lanes, metrics.watch_event)
        tasks.append(asyncio.create_task(_watch(options, intake)))
        await _until_one_ends(tasks)


def open_service(options: Options) -> Service:
    """Return what calls the server.

    Raises:
        UsageError: the authority's certificate cannot be used.
    """
    tls = TLSConfig(
        server_root_ca_cert=options.tls_ca.read_bytes() if options.tls_ca else None,
        domain=options.tls_server_name,
    )
    return Service(
        options.server,
        api_key=TokenFile(options.token_file) if options.token_file else None,
        tls=tls if options.tls_ca or options.tls_server_name else False,
        retry_config=NO_RETRIES,
    )


def build_defaults(options: Options) -> WorkerDefaults:
    """Return what the operator adds to every pool."""
    return WorkerDefaults(
        image=options.default_image,
        server=options.worker_server,
        audience=options.worker_audience,
        authority=options.tls_ca.read_text() if options.tls_ca else "",
    )


def build_world(cluster: KubernetesCluster, server: ServiceServer, options: Options) -> World:
    """Return what every reconcile works with."""
    return World(
        cluster=cluster,
        server=server,
        applier=Applier(cluster, server),
        now=lambda: datetime.now(UTC),
        latest=LatestBodies(),
        roster=Roster(),
        pools=PoolBook(),
        queues=QueueBook(),
        show_after=options.show_after,
    )


async def wait_for_kinds(cluster: KubernetesCluster) -> None:
    """Return when the API server knows the custom resources."""
    wanted = {kind.plural for kind in (WORKFLOWS, ACTIVITIES, WORKER_POOLS, SCHEDULES)}
    while True:
        try:
            missing = wanted - await cluster.serves(GROUP, VERSION)
        except ClusterError as error:
            logger.warning("%s; trying again", error)
        else:
            if not missing:
                return
            logger.warning("waiting for the CRDs of %s: are they installed?", sorted(missing))
        await asyncio.sleep(CRD_INTERVAL)


def _endless(
    options: Options, world: World, lanes: Lanes, metrics: Metrics
) -> list[Coroutine[Any, Any, None]]:
    """Return the tasks that never end by themselves."""
    defaults = build_defaults(options)
    runs: dict[ObjectKind, Reconciler] = {
        WORKFLOWS: WorkflowReconciler(world),
        ACTIVITIES: ActivityReconciler(world, defaults),
        RUNS: RunShower(world),
    }
    few: dict[ObjectKind, Reconciler] = {
        WORKER_POOLS: PoolReconciler(world, defaults),
        SCHEDULES: ScheduleReconciler(world),
    }
    at_runs = Dispatcher(lanes.runs, runs, metrics)
    at_pools = Dispatcher(lanes.pools, few, metrics)
    only = options.namespaces[0] if len(options.namespaces) == 1 else ""
    follower = Follower(world, lanes, metrics.heard, namespace=only)
    return [
        *(at_runs.work() for _ in range(options.workers)),
        *(at_pools.work() for _ in range(POOL_WORKERS)),
        follower.follow_runs(),
        follower.follow_queues(),
    ]


async def _watch(options: Options, intake: Intake) -> None:
    """Watch the cluster until kopf is told to stop by a signal, which it handles itself."""
    # Without it kopf asks for the user's name, and a pod's user may have none.
    os.environ.setdefault("POD_ID", socket.gethostname())
    await kopf.operator(
        registry=build_registry(intake, in_cluster=is_in_cluster()),
        settings=build_settings(),
        standalone=True,
        clusterwide=not options.namespaces,
        namespaces=list(options.namespaces),
    )


async def _until_one_ends(tasks: list[asyncio.Task[None]]) -> None:
    """Wait for the first task to end, stop the others, and raise what it failed with."""
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for task in done:
        task.result()


if __name__ == "__main__":
    main()
