"""The operator's process: everything is put together here, and nowhere else.

It holds nothing that cannot be found out again, so it may be killed and started at any time. Of
several operators with one Lease one acts, and the others stand by (:mod:`.leading`, ADR 0023).
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import sys
from collections.abc import Coroutine, Sequence, Set
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any, NamedTuple

import kopf

from perdure.client import Service, TLSConfig, TokenFile
from perdure.protocol.fencing import HEADER, FencingToken
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
from perdure_operator.controllers.leading import LeaseTimes
from perdure_operator.controllers.mandates import Mandate, for_good
from perdure_operator.controllers.memories import LatestBodies, PoolBook, QueueBook, Roster
from perdure_operator.controllers.metrics import Metrics
from perdure_operator.controllers.options import Options, parse_options
from perdure_operator.controllers.outages import Outages, SeldomRetries
from perdure_operator.controllers.pools.access import WorkerDefaults
from perdure_operator.controllers.pools.code_watching import CodeWatcher
from perdure_operator.controllers.pools.reconciler import PoolReconciler
from perdure_operator.controllers.posting import Poster
from perdure_operator.controllers.reconciling import Dispatcher, Reconciler
from perdure_operator.controllers.run_reconciling import (
    ActivityReconciler,
    WorkflowReconciler,
)
from perdure_operator.controllers.run_showing import RunShower
from perdure_operator.controllers.schedules.reconciler import ScheduleReconciler
from perdure_operator.controllers.service import NO_RETRIES, ServiceServer
from perdure_operator.controllers.stopping import Stop
from perdure_operator.controllers.terms import Work, build_elector, take_part, until_one_ends
from perdure_operator.controllers.trusting import until_authority_changes, wait_for_authority
from perdure_operator.controllers.world import World

logger = logging.getLogger(__name__)

POOL_WORKERS = 2
"""Pools that are looked at at once."""

CRD_REMINDER = 300.0
"""Seconds after which missing CRDs are said again."""

CRD_INTERVAL = 2.0
"""Seconds between two looks for the CRDs, until they are there."""


def main() -> None:
    """Run the operator until it is told to stop."""
    options = parse_options()
    set_up_logging(options.log_level)
    asyncio.run(run(options))


def set_up_logging(level: str) -> None:
    """Log lines to stderr, kopf's only when something is wrong."""
    logging.basicConfig(
        stream=sys.stderr,
        level=level.upper(),
        format="%(asctime)s %(levelname)-7s %(name)s: %(message)s",
    )
    if level != "debug":
        logging.getLogger("kopf").setLevel(logging.WARNING)
        for handler in logging.getLogger().handlers:
            handler.addFilter(SeldomRetries())


async def run(options: Options) -> None:
    """Run the operator until a signal stops it, or one of its tasks fails."""
    logger.info(
        "perdure-operator %s: namespaces %s, server %s, %s",
        version("perdure"),
        ", ".join(options.namespaces) or "all",
        options.server,
        f"lease {options.lease}" if options.lease else "alone (no --lease)",
    )
    metrics, stop, outages = Metrics(), Stop(), Outages()

    def observe(verb: str, kind: str, status: int, seconds: float) -> None:
        metrics.api_call(verb, kind, status, seconds)
        outages.api_call(status)

    mandate = Mandate() if options.lease else for_good()
    metrics.watch_lead(lambda: mandate.is_good)
    tasks: list[asyncio.Task[None]] = []
    async with AsyncExitStack() as stack:
        stop.listen()
        await stack.enter_async_context(
            serve_health(
                options.liveness_port, metrics, lambda: not any(task.done() for task in tasks)
            )
        )
        configuration = await load_configuration()
        cluster = await stack.enter_async_context(
            KubernetesCluster(
                configuration,
                limiter=RateLimiter(rate=options.qps, burst=int(2 * options.qps)),
                observe=observe,
                may_write=mandate.require,
            )
        )
        leases = await stack.enter_async_context(
            KubernetesCluster(
                configuration,
                # Its own connections and its own limit: nothing else can hold up a renewal.
                limiter=RateLimiter(rate=10, burst=10),
                observe=observe,
                timeout=LeaseTimes(lease=options.lease_seconds).call,
            )
        )

        async def lead(token: FencingToken | None, others: Sequence[Work]) -> None:
            logger.info("leading%s", f" in term {token.term} of {token.scope}" if token else "")
            given = Leadership(mandate, token, stop, outages)
            await serve_term(options, cluster, metrics, given, others)

        async def work() -> None:
            await wait_for_authority(options.tls_ca)
            await wait_for_kinds(cluster)
            await take_part(build_elector(options, leases, mandate), lead)

        tasks += [asyncio.create_task(work()), asyncio.create_task(stop.told())]
        await until_one_ends(tasks)
    logger.info("stopped")


class Leadership(NamedTuple):
    """What a term is given to act with."""

    mandate: Mandate
    token: FencingToken | None
    stop: Stop
    outages: Outages


async def serve_term(
    options: Options,
    cluster: KubernetesCluster,
    metrics: Metrics,
    leadership: Leadership,
    others: Sequence[Work],
) -> None:
    """Do everything that an operator does, until a part of it, or one of ``others``, ends."""

    def observe(verb: str, code: str) -> None:
        metrics.server_call(verb, code)
        leadership.outages.server_call(code)

    async with open_service(options, leadership.token) as service:
        server = ServiceServer(service, observe=observe, may_write=leadership.mandate.require)
        poster = (
            Poster(cluster, options.identity or socket.gethostname(), count=metrics.notice)
            if options.events
            else None
        )
        world = build_world(cluster, server, poster, options)
        lanes = Lanes()
        intake = Intake(world, lanes, metrics.watch_event)
        # kopf comes last: when it ends it ends every task that was begun after it.
        parts = [
            *others,
            *_endless(options, world, lanes, metrics),
            *([poster.send()] if poster else []),
            *([until_authority_changes(options.tls_ca)] if options.tls_ca else []),
            CodeWatcher(cluster, world.pools, lanes).watch(),
            _watch(options, intake, leadership.stop),
        ]
        with metrics.acting(lambda: lanes.ready, lambda: len(lanes), lambda: lanes.oldest):
            await until_one_ends([asyncio.create_task(part) for part in parts])


def open_service(options: Options, token: FencingToken | None = None) -> Service:
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
        headers={HEADER: str(token)} if token is not None else None,
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


def build_world(
    cluster: KubernetesCluster, server: ServiceServer, poster: Poster | None, options: Options
) -> World:
    """Return what every reconcile works with."""
    applier = Applier(cluster, server, notify=poster.post) if poster else Applier(cluster, server)
    return World(
        cluster=cluster,
        server=server,
        applier=applier,
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
    said, said_at = "", 0.0
    while True:
        try:
            missing = wanted - await cluster.serves(GROUP, VERSION)
            problem = _missing_kinds(missing)
        except ClusterError as error:
            problem = f"the Kubernetes API cannot be asked for its kinds: {error}"
        if not problem:
            if said:
                logger.info("the custom resources are there")
            return
        now = asyncio.get_running_loop().time()
        if problem != said or now - said_at >= CRD_REMINDER:
            logger.error("%s", problem)
            said, said_at = problem, now
        await asyncio.sleep(CRD_INTERVAL)


def _missing_kinds(missing: Set[str]) -> str:
    """Return what to do about kinds that the API server does not have; empty when it has all."""
    if not missing:
        return ""
    names = ", ".join(f"{plural}.{GROUP}" for plural in sorted(missing))
    return (
        f"the API server has no {names} ({VERSION}), so nothing can be done: install the chart "
        "with crds.install=true, or `kubectl apply --server-side -f crds/` of this version; "
        "waiting for them"
    )


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


async def _watch(options: Options, intake: Intake, stop: Stop) -> None:
    """Watch the cluster, for ever."""
    # Without it kopf asks for the user's name, and a pod's user may have none.
    os.environ.setdefault("POD_ID", socket.gethostname())
    others = asyncio.all_tasks()
    tasks = await kopf.spawn_tasks(
        registry=build_registry(intake, in_cluster=is_in_cluster()),
        settings=build_settings(),
        standalone=True,
        clusterwide=not options.namespaces,
        namespaces=list(options.namespaces),
    )
    # kopf has taken the signals, but what is to be stopped first is not kopf.
    stop.listen()
    await kopf.run_tasks(tasks, ignored=others)


if __name__ == "__main__":
    main()
