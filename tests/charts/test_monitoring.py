"""Alerts, dashboard, monitors and the disruption budget of the chart.

Whatever asks Prometheus for something asks for a metric that exists, with labels that it has.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

import promql_parser as promql
import pytest
import yaml
from prometheus_client import CollectorRegistry

from perdure_operator.controllers.metrics import Metrics as OperatorMetrics
from perdure_operator.server.metrics import Metrics as ServerMetrics
from support.cluster_tools import CHECKOUT, CommandError, run, tools

CHART = CHECKOUT / "charts" / "perdure"
RUNBOOKS = CHECKOUT / "docs" / "how-to" / "runbooks"
TARGET_LABELS = {"namespace", "le"}
"""Labels that the scraper and histograms add."""

Manifest = dict[str, Any]


@cache
def render(*values: str) -> list[Manifest]:
    options = [option for value in values for option in ("--set", value)]
    command = [tools().helm, "template", "perdure", "-n", "engine", CHART, *options]
    return [document for document in yaml.safe_load_all(run(command)) if document]


def pick(kind: str, *values: str, name: str = "") -> Manifest:
    (found,) = [
        each
        for each in render(*values)
        if each["kind"] == kind and name in ("", each["metadata"]["name"])
    ]
    return found


def kinds(*values: str) -> set[str]:
    return {manifest["kind"] for manifest in render(*values)}


# --- what there is to ask for ------------------------------------------------------------------


def series(registry: CollectorRegistry) -> Iterator[tuple[str, set[str]]]:
    """Return the names under which a scrape shows a registry's metrics, with their labels."""
    suffixes = {"counter": ("_total",), "gauge": ("",), "histogram": ("_bucket", "_sum", "_count")}
    for collector in registry._collector_to_names:
        (metric,) = collector.collect()
        for suffix in suffixes[metric.type]:
            yield metric.name + suffix, set(collector._labelnames)


SERIES = dict([*series(ServerMetrics().registry), *series(OperatorMetrics()._registry)])


def selectors(expression: promql.Expr) -> Iterator[tuple[str, set[str]]]:
    """Return the metrics that an expression asks for, with the labels it matches on."""
    if isinstance(expression, promql.VectorSelector):
        yield expression.name, {each.name for each in expression.matchers.matchers}
        return
    parts = ("expr", "lhs", "rhs", "vector_selector", "args")
    for part in filter(None, (getattr(expression, name, None) for name in parts)):
        for each in part if isinstance(part, list | tuple) else [part]:
            if not isinstance(each, str | float | int):
                yield from selectors(each)


def grouped(text: str) -> set[str]:
    return {
        label.strip() for group in re.findall(r"by \(([^)]*)\)", text) for label in group.split(",")
    }


ALERTS = yaml.safe_load((CHART / "files" / "alerts.yaml").read_text())["groups"]
RULES = [rule for group in ALERTS for rule in group["rules"]]
PANELS = [
    panel
    for row in yaml.safe_load((CHART / "files" / "dashboard.yaml").read_text())
    for panel in row["panels"]
]
EXPRESSIONS: Mapping[str, str] = {
    **{rule["alert"]: rule["expr"] for rule in RULES},
    **{
        f"{panel['title']}: {query['legend']}": query["expr"].replace("$__rate_interval", "5m")
        for panel in PANELS
        for query in panel["queries"]
    },
}


@pytest.mark.parametrize("text", EXPRESSIONS.values(), ids=EXPRESSIONS)
def test_every_expression_asks_for_metrics_and_labels_that_exist(text: str) -> None:
    found = list(selectors(promql.parse(text)))

    assert found
    labels: set[str] = set()
    for name, matched in found:
        assert name in SERIES, f"no metric is called {name}"
        assert matched <= SERIES[name] | TARGET_LABELS
        assert "namespace" in matched, "two installations must not be mixed up"
        labels |= SERIES[name]
    assert grouped(text) <= labels | TARGET_LABELS


def test_a_metric_that_does_not_exist_would_be_found() -> None:
    found = dict(selectors(promql.parse('sum(rate(a_total{x="1"}[5m])) / (b or max(c)) > 1')))

    assert found == {"a_total": {"x"}, "b": set(), "c": set()}


def test_the_dashboard_shows_every_metric() -> None:
    shown = {
        re.sub("_(bucket|sum|count)$", "", name)
        for panel in PANELS
        for query in panel["queries"]
        for name, _ in selectors(promql.parse(query["expr"].replace("$__rate_interval", "5m")))
    }
    assert shown == {re.sub("_(bucket|sum|count)$", "", name) for name in SERIES}


# --- alerts ------------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_every_alert_says_what_is_wrong_and_has_a_runbook(rule: Manifest) -> None:
    assert rule["labels"]["severity"] in {"critical", "warning"}
    assert {"summary", "description", "runbook_url"} == set(rule["annotations"])
    page = RUNBOOKS / rule["annotations"]["runbook_url"].removeprefix("RUNBOOKS/")
    text = page.read_text(encoding="utf-8")
    assert f"`{rule['alert']}`" in text
    assert "\n## What it means\n" in text
    assert "\n## What to do\n" in text


def test_every_runbook_belongs_to_an_alert() -> None:
    named = {rule["annotations"]["runbook_url"].removeprefix("RUNBOOKS/") for rule in RULES}
    assert {page.name for page in RUNBOOKS.glob("*.md")} == named


def test_the_rules_are_those_of_the_file_for_this_namespace() -> None:
    base = "monitoring.rules.runbooks=https://books.example/perdure/"
    rule = pick("PrometheusRule", "monitoring.rules.enabled=true", base)

    text = (CHART / "files" / "alerts.yaml").read_text()
    text = text.replace("NAMESPACE", "engine").replace("RUNBOOKS", "https://books.example/perdure")
    assert rule["spec"]["groups"] == yaml.safe_load(text)["groups"]


def test_an_alert_can_be_left_out() -> None:
    rule = pick(
        "PrometheusRule",
        "monitoring.rules.enabled=true",
        "monitoring.rules.without={PerdureStoreSlow}",
        "monitoring.rules.labels.release=prometheus",
    )
    names = {each["alert"] for group in rule["spec"]["groups"] for each in group["rules"]}

    assert names == {each["alert"] for each in RULES} - {"PerdureStoreSlow"}
    assert rule["metadata"]["labels"]["release"] == "prometheus"


# --- the dashboard -----------------------------------------------------------------------------


def test_the_dashboard_is_found_by_grafana_and_has_every_panel() -> None:
    config = pick(
        "ConfigMap",
        "monitoring.dashboard.enabled=true",
        "monitoring.dashboard.annotations.folder=Engines",
    )
    dashboard = json.loads(config["data"]["perdure.json"])

    assert config["metadata"]["labels"]["grafana_dashboard"] == "1"
    assert config["metadata"]["annotations"] == {"folder": "Engines"}
    panels = [each for each in dashboard["panels"] if each["type"] != "row"]
    assert [each["title"] for each in panels] == [each["title"] for each in PANELS]
    for panel, wanted in zip(panels, PANELS, strict=True):
        queries = [query["expr"] for query in wanted["queries"]]
        assert [target["expr"] for target in panel["targets"]] == queries
    assert {each["name"] for each in dashboard["templating"]["list"]} == {"datasource", "namespace"}


def test_no_two_panels_share_a_place_or_an_id() -> None:
    config = pick("ConfigMap", "monitoring.dashboard.enabled=true")
    panels = json.loads(config["data"]["perdure.json"])["panels"]
    cells = [
        (place["x"] + right, place["y"] + down)
        for place in (panel["gridPos"] for panel in panels)
        for right in range(place["w"])
        for down in range(place["h"])
    ]
    assert len(cells) == len(set(cells))
    assert len({panel["id"] for panel in panels}) == len(panels)


# --- monitors, policies, budget ----------------------------------------------------------------


def test_the_operator_is_scraped_at_its_pod() -> None:
    interval = "monitoring.podMonitor.interval=10s"
    label = "monitoring.podMonitor.labels.release=prometheus"
    monitor = pick("PodMonitor", "monitoring.podMonitor.enabled=true", interval, label)
    pod = pick("Deployment")["spec"]["template"]

    (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
    ports = {p["name"] for c in pod["spec"]["containers"] for p in c["ports"]}
    assert endpoint == {"port": "health", "path": "/metrics", "interval": "10s"}
    assert endpoint["port"] in ports
    assert selects(monitor["spec"]["selector"], pod["metadata"]["labels"])
    assert monitor["metadata"]["labels"]["release"] == "prometheus"


def selects(selector: Manifest, labels: Mapping[str, str]) -> bool:
    """Tell whether a label selector selects."""
    within = all(labels.get(each["key"]) in each["values"] for each in selector["matchExpressions"])
    return within and selector["matchLabels"].items() <= labels.items()


def test_operators_that_stand_by_are_scraped_and_reached_as_well() -> None:
    """Else "no operator leads" would be said while one of them does."""
    values = ("operator.standbys=1", "networkPolicy.enabled=true", PROMETHEUS)
    values = (*values, "monitoring.podMonitor.enabled=true")
    (standby,) = [
        each["spec"]["template"]["metadata"]["labels"]
        for each in render(*values)
        if each["kind"] == "Deployment" and each["metadata"]["name"] == "perdure-standby"
    ]

    assert selects(pick("PodMonitor", *values)["spec"]["selector"], standby)
    policy = pick("NetworkPolicy", *values, name="perdure-monitoring")
    assert selects(policy["spec"]["podSelector"], standby)
    assert not selects(pick("PodMonitor", *values)["spec"]["selector"], {"app": "other"})


PROMETHEUS = "monitoring.from[0].podSelector.matchLabels.app=prometheus"


@pytest.mark.parametrize(
    ("values", "ports"),
    [
        pytest.param((), ["health"], id="operator"),
        pytest.param(("serviceMonitor.enabled=true",), ["http", "health"], id="server-too"),
    ],
)
def test_prometheus_is_let_in_where_others_are_kept_out(
    values: tuple[str, ...], ports: list[str]
) -> None:
    policy = pick(
        "NetworkPolicy",
        "networkPolicy.enabled=true",
        PROMETHEUS,
        *values,
        name="perdure-monitoring",
    )
    (rule,) = policy["spec"]["ingress"]

    assert [port["port"] for port in rule["ports"]] == ports
    assert rule["from"] == [{"podSelector": {"matchLabels": {"app": "prometheus"}}}]


def test_where_nobody_is_kept_out_nobody_need_be_let_in() -> None:
    assert "NetworkPolicy" not in kinds(PROMETHEUS)


@pytest.mark.parametrize("allowed", [0, 1])
def test_a_budget_says_whether_the_pod_may_be_evicted(allowed: int) -> None:
    setting = f"podDisruptionBudget.maxUnavailable={allowed}"
    budget = pick("PodDisruptionBudget", "podDisruptionBudget.enabled=true", setting)
    labels = pick("Deployment")["spec"]["template"]["metadata"]["labels"]

    assert budget["spec"]["maxUnavailable"] == allowed
    assert budget["spec"]["selector"]["matchLabels"].items() <= labels.items()


def test_all_of_it_is_off_by_default() -> None:
    extra = {"PodMonitor", "PrometheusRule", "ConfigMap", "PodDisruptionBudget"}
    assert not kinds() & extra


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("monitoring.rules.enable=true", "additional properties 'enable' not allowed"),
        ("monitoring.rules.runbooks=docs", "/monitoring/rules/runbooks"),
        ("monitoring.rules.without={store}", "/monitoring/rules/without"),
        ("monitoring.podMonitor.interval=often", "/monitoring/podMonitor/interval"),
        ("podDisruptionBudget.maxUnavailable=2", "/podDisruptionBudget/maxUnavailable"),
    ],
)
def test_a_wrong_value_is_refused_by_its_name(value: str, words: str) -> None:
    with pytest.raises(CommandError) as error:
        render(value)

    assert words in str(error.value)
