"""The alerts, by promtool: they are rules that Prometheus takes, and fire when they should."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from support.cluster_tools import CHECKOUT, CommandError, run
from support.interop_alerts import CASES, HEALTHY, INTERVAL, Case
from support.interop_programs import program
from support.interop_prometheus import NAMESPACE, write_rules

FIRING = 'count by (alertname) (ALERTS{alertstate="firing"})'

pytestmark = pytest.mark.timeout(3600)


@pytest.fixture(scope="module")
def promtool() -> Path:
    """The program, compiled the first time."""
    return program("promtool")


@pytest.fixture(scope="module")
def rules(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The rules of the chart, as a file."""
    return write_rules(tmp_path_factory.mktemp("rules"))


def series_of(case: Case) -> list[dict[str, str]]:
    """Return the series of a case, each in a namespace."""
    kept = (
        {name: each for name, each in HEALTHY.items() if not name.startswith(case.without)}
        if (case.without)
        else dict(HEALTHY)
    )
    kept |= case.otherwise
    return [{"series": in_namespace(name), "values": values} for name, values in kept.items()]


def in_namespace(name: str) -> str:
    """Return a series with the label of its namespace, unless it has one."""
    if "namespace=" in name:
        return name
    metric, _, labels = name.removesuffix("}").partition("{")
    inside = ", ".join(filter(None, (f'namespace="{NAMESPACE}"', labels)))
    return f"{metric}{{{inside}}}"


def unit_test(case: Case, rules: Path) -> dict[str, Any]:
    """Return a case as promtool has them."""
    return {
        "rule_files": [str(rules)],
        "evaluation_interval": INTERVAL,
        "tests": [
            {
                "interval": INTERVAL,
                "input_series": series_of(case),
                "promql_expr_test": [
                    {
                        "expr": FIRING,
                        "eval_time": time,
                        "exp_samples": [
                            {"labels": f'{{alertname="{name}"}}', "value": 1}
                            for name in sorted(names)
                        ],
                    }
                    for time, names in case.fires.items()
                ],
            }
        ],
    }


def test_prometheus_takes_the_rules(promtool: Path, rules: Path) -> None:
    count = sum(len(group["rules"]) for group in yaml.safe_load(rules.read_text())["groups"])

    assert f"SUCCESS: {count} rules found" in run([promtool, "check", "rules", rules])


def test_prometheus_takes_the_file_of_those_without_its_operator(promtool: Path) -> None:
    assert "SUCCESS" in run(
        [promtool, "check", "rules", CHECKOUT / "charts" / "perdure" / "files" / "alerts.yaml"]
    )


def test_every_alert_fires_in_some_case(rules: Path) -> None:
    groups = yaml.safe_load(rules.read_text())["groups"]
    fired = {name for case in CASES.values() for names in case.fires.values() for name in names}

    assert fired == {rule["alert"] for group in groups for rule in group["rules"]}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_the_alerts_that_should_fire_do(
    case: Case, promtool: Path, rules: Path, tmp_path: Path
) -> None:
    file = tmp_path / "test.yaml"
    file.write_text(json.dumps(unit_test(case, rules)), encoding="utf-8")

    run([promtool, "test", "rules", file])


def test_a_wrong_expectation_is_found(promtool: Path, rules: Path, tmp_path: Path) -> None:
    file = tmp_path / "test.yaml"
    wrong = Case(fires={"5m": frozenset({"PerdureServerDown"})})
    file.write_text(json.dumps(unit_test(wrong, rules)), encoding="utf-8")

    with pytest.raises(CommandError, match="FAILED"):
        run([promtool, "test", "rules", file])
