"""What the alerts are to say: series as Prometheus would have scraped them, and what then fires.

Each case is a healthy install in which some series are otherwise. Values are in promtool's
notation: ``0+1x240`` is 0, 1, 2 … over two hours at one sample every 30 s, ``_`` is a scrape that
found nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

STEPS = 240
"""Samples of each series: two hours."""
INTERVAL = "30s"

Series = Mapping[str, str]


def always(value: float) -> str:
    """Return a gauge that stays."""
    return f"{value:g}+0x{STEPS}"


def grows(by: float, *, start: float = 0) -> str:
    """Return a counter that grows ``by`` so much each 30 s."""
    return f"{start:g}+{by:g}x{STEPS}"


HEALTHY: Series = {
    "perdure_runs_in_memory": always(10),
    "perdure_runs_failing": always(0),
    "perdure_runs_damaged": always(0),
    "perdure_store_commit_failures_total": always(0),
    'perdure_store_append_seconds_bucket{le="0.01"}': grows(100),
    'perdure_store_append_seconds_bucket{le="5.0"}': grows(100),
    'perdure_store_append_seconds_bucket{le="+Inf"}': grows(100),
    'perdure_store_disk_bytes{state="free"}': always(8e9),
    'perdure_store_disk_bytes{state="used"}': always(2e9),
    'perdure_tasks_unattended{kind="workflow"}': always(0),
    'perdure_tasks_unattended{kind="query"}': always(0),
    'perdure_tasks_oldest_seconds{kind="activity"}': always(2),
    'perdure_activity_attempt_seconds_count{outcome="completed"}': grows(10),
    'perdure_activity_attempt_seconds_count{outcome="failed"}': grows(1),
    'perdure_reports_refused_total{kind="late_attempt"}': always(0),
    'perdure_workers_lost_total{reason="silent"}': always(0),
    'perdure_workers_lost_total{reason="closed"}': grows(1),
    "perdure_operator_workqueue_depth": always(0),
    "perdure_operator_workqueue_oldest_seconds": always(0),
    'perdure_operator_follow_age_seconds{what="runs"}': always(15),
    "perdure_operator_leader": always(1),
    'perdure_operator_reconciles_total{kind="Workflow", result="done"}': grows(30),
    'perdure_operator_reconciles_total{kind="Workflow", result="error"}': grows(1),
    'perdure_operator_reconciles_total{kind="Workflow", result="bug"}': always(0),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What is otherwise than in a healthy install, and what fires when."""

    otherwise: Series = field(default_factory=dict)
    without: tuple[str, ...] = ()
    """Series by the beginning of their name; they are not there."""
    fires: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """The alerts that fire, all of them, at points in time."""


def alone(name: str, *, at: str, not_before: str = "") -> dict[str, frozenset[str]]:
    """Return that one alert fires at a time, and nothing does at one before."""
    quiet: dict[str, frozenset[str]] = {not_before: frozenset()} if not_before else {}
    return quiet | {at: frozenset({name})}


def for_a_while(value: float, *, minutes: int, otherwise: float = 0) -> str:
    """Return a gauge that is ``value`` for some minutes after the first hour, and then not."""
    steps = minutes * 2
    return f"{otherwise:g}+0x119 {value:g}+0x{steps - 1} {otherwise:g}+0x{119 - steps}"


CASES: dict[str, Case] = {
    "a healthy install": Case(fires={"5m": frozenset(), "30m": frozenset(), "2h": frozenset()}),
    "the server is not scraped": Case(
        without=(
            "perdure_runs",
            "perdure_store",
            "perdure_tasks",
            "perdure_activity",
            "perdure_reports",
            "perdure_workers",
        ),
        fires=alone("PerdureServerDown", not_before="4m", at="6m"),
    ),
    "the server restarts": Case(
        otherwise={"perdure_runs_in_memory": "10+0x119 _x8 10+0x111"},
        fires={"61m": frozenset(), "63m": frozenset(), "65m": frozenset()},
    ),
    "the store cannot be written": Case(
        otherwise={"perdure_store_commit_failures_total": f"0+0x119 1+1x{STEPS - 120}"},
        fires=alone("PerdureStoreFailing", not_before="60m", at="63m"),
    ),
    "writing is slow": Case(
        otherwise={'perdure_store_append_seconds_bucket{le="0.01"}': grows(10)},
        fires=alone("PerdureStoreSlow", not_before="8m", at="12m"),
    ),
    "little of the disk is free": Case(
        otherwise={
            'perdure_store_disk_bytes{state="free"}': always(1e9),
            'perdure_store_disk_bytes{state="used"}': always(9e9),
        },
        fires=alone("PerdureDiskFilling", not_before="14m", at="16m"),
    ),
    "the disk fills fast": Case(
        otherwise={'perdure_store_disk_bytes{state="free"}': f"8000000000-6000000x{STEPS}"},
        fires=alone("PerdureDiskFilling", not_before="14m", at="30m"),
    ),
    "the disk fills slowly": Case(
        otherwise={'perdure_store_disk_bytes{state="free"}': f"8000000000-100000x{STEPS}"},
        fires={"30m": frozenset(), "2h": frozenset()},
    ),
    "a history is damaged": Case(
        otherwise={"perdure_runs_damaged": always(1)},
        fires=alone("PerdureRunsDamaged", at="1m"),
    ),
    "no worker comes": Case(
        otherwise={'perdure_tasks_unattended{kind="workflow"}': always(3)},
        fires=alone("PerdureNoWorkers", not_before="9m", at="11m"),
    ),
    "workers take a while to come": Case(
        otherwise={'perdure_tasks_unattended{kind="workflow"}': for_a_while(3, minutes=5)},
        fires={"64m": frozenset(), "75m": frozenset()},
    ),
    "nobody answers a query": Case(
        otherwise={'perdure_tasks_unattended{kind="query"}': always(1)},
        fires={"30m": frozenset()},
    ),
    "tasks wait long": Case(
        otherwise={'perdure_tasks_oldest_seconds{kind="activity"}': always(400)},
        fires=alone("PerdureBacklogOld", not_before="9m", at="11m"),
    ),
    "code fails": Case(
        otherwise={"perdure_runs_failing": always(2)},
        fires=alone("PerdureRunsStalled", not_before="9m", at="11m"),
    ),
    "most attempts fail": Case(
        otherwise={'perdure_activity_attempt_seconds_count{outcome="failed"}': grows(20)},
        fires=alone("PerdureActivitiesFailing", not_before="14m", at="17m"),
    ),
    "no attempt is made": Case(
        otherwise={
            'perdure_activity_attempt_seconds_count{outcome="completed"}': always(100),
            'perdure_activity_attempt_seconds_count{outcome="failed"}': always(100),
        },
        fires={"1h": frozenset()},
    ),
    "reports are refused": Case(
        otherwise={'perdure_reports_refused_total{kind="late_attempt"}': grows(6)},
        fires=alone("PerdureReportsRefused", not_before="14m", at="24m"),
    ),
    "four workers fall silent at once": Case(
        otherwise={'perdure_workers_lost_total{reason="silent"}': f"0+0x119 4+0x{STEPS - 120}"},
        fires={
            "59m": frozenset(),
            "61m": frozenset({"PerdureWorkersSilent"}),
            "80m": frozenset(),
        },
    ),
    "workers come and go": Case(
        otherwise={'perdure_workers_lost_total{reason="closed"}': grows(20)},
        fires={"1h": frozenset()},
    ),
    "the operator is not scraped": Case(
        without=("perdure_operator",),
        fires=alone("PerdureOperatorDown", not_before="4m", at="6m"),
    ),
    "no operator leads": Case(
        otherwise={"perdure_operator_leader": always(0)},
        fires=alone("PerdureOperatorNotLeading", not_before="1m", at="3m"),
    ),
    "another operator leads": Case(
        otherwise={
            'perdure_operator_leader{pod="perdure-0"}': always(0),
            'perdure_operator_leader{pod="perdure-standby-0"}': always(1),
        },
        without=("perdure_operator_leader",),
        fires={"30m": frozenset()},
    ),
    "a tenth and more of the looks fail": Case(
        otherwise={'perdure_operator_reconciles_total{kind="Workflow", result="error"}': grows(10)},
        fires=alone("PerdureOperatorErrors", not_before="9m", at="12m"),
    ),
    "the operator has a bug": Case(
        otherwise={
            'perdure_operator_reconciles_total{kind="Workflow", result="bug"}': (
                f"0+0x119 1+0.1x{STEPS - 120}"
            )
        },
        fires=alone("PerdureOperatorErrors", not_before="69m", at="71m"),
    ),
    "the operator has more to do than it gets done": Case(
        otherwise={"perdure_operator_workqueue_oldest_seconds": always(90)},
        fires=alone("PerdureOperatorBehind", not_before="9m", at="11m"),
    ),
    "the operator does not hear from the server": Case(
        otherwise={'perdure_operator_follow_age_seconds{what="runs"}': grows(30)},
        fires=alone("PerdureOperatorBehind", not_before="12m", at="14m"),
    ),
    "another install is broken": Case(
        otherwise={
            'perdure_runs_damaged{namespace="other"}': always(5),
            'perdure_store_commit_failures_total{namespace="other"}': grows(1),
            'perdure_operator_leader{namespace="other"}': always(0),
        },
        fires={"1h": frozenset()},
    ),
}
