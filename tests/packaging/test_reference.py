"""That the reference has everything there is, and nothing else."""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import get_args

import msgspec
import pytest
from prometheus_client import CollectorRegistry

from perdure import client, exceptions
from perdure.protocol.events import Event, event_name
from perdure.protocol.verbs import ErrorResponse
from perdure_operator.controllers.metrics import Metrics as OperatorMetrics
from perdure_operator.controllers.options import _build_parser as operator_parser
from perdure_operator.server import main as server_main
from perdure_operator.server.errors import STATUS
from perdure_operator.server.metrics import Metrics as ServerMetrics
from support.reference import FOLDER, pages

CHECKOUT = Path(__file__).resolve().parents[2]
EVENTS = {kind.__name__: kind for kind in get_args(Event)}


def page(name: str) -> str:
    return (FOLDER / name).read_text(encoding="utf-8")


def section(text: str, heading: str) -> str:
    """Return what stands below a heading, up to the next one of its level or above."""
    level = len(heading) - len(heading.lstrip("#"))
    found = re.search(rf"(?m)^{re.escape(heading)}$(.*?)(?=^#{{1,{level}}} |\Z)", text, re.DOTALL)
    assert found, f"there is no {heading!r}"
    return found[1]


def first_cells(text: str) -> list[str]:
    """Return the names in the first column of every table."""
    cells = re.findall(r"(?m)^\| ((?:`[^`|]+`(?:, )?)+) \|", text)
    return [name for cell in cells for name in re.findall(r"`([^`]+)`", cell)]


@pytest.mark.parametrize("name", ["cli.md", "manifests.md"])
def test_a_page_that_follows_from_the_code_is_fresh(name: str) -> None:
    assert page(name) == pages()[name], "run: PYTHONPATH=tests python -m support.reference"


def test_every_event_has_its_place() -> None:
    headings = re.findall(r"(?m)^### (.+)$", page("events.md"))
    assert sorted(headings) == sorted(EVENTS)


@pytest.mark.parametrize("name", EVENTS)
def test_an_events_fields_are_all_explained(name: str) -> None:
    fields = {field.name for field in msgspec.structs.fields(EVENTS[name])}
    assert set(first_cells(section(page("events.md"), f"### {name}"))) == fields


def test_events_are_called_what_their_types_are_called() -> None:
    assert event_name(EVENTS["TimerFired"](seq=1)) == "TimerFired"


def names_of(registry: CollectorRegistry) -> dict[str, tuple[str, ...]]:
    """Return the labels by the name that a scrape shows."""
    found = {}
    for collector in registry._collector_to_names:
        (metric,) = collector.collect()
        suffix = "_total" if metric.type == "counter" else ""
        found[metric.name + suffix] = tuple(collector._labelnames)
    return found


@pytest.mark.parametrize(
    ("heading", "registry"),
    [
        ("## Server: `GET /metrics` on its port", ServerMetrics().registry),
        ("## Operator: `GET /metrics` on port 8081", OperatorMetrics()._registry),
    ],
    ids=["server", "operator"],
)
def test_every_metric_is_explained_with_its_labels(
    heading: str, registry: CollectorRegistry
) -> None:
    rows = re.findall(r"(?m)^\| `(\w+)` \| \w+ \|([^|]*)\|", section(page("metrics.md"), heading))
    explained = {name: tuple(re.findall(r"`(\w+)`", labels)) for name, labels in rows}
    assert explained == names_of(registry)


def test_every_exception_is_explained() -> None:
    text = page("errors.md")
    public = {
        name
        for module in (exceptions, client)
        for name in module.__all__
        if isinstance(getattr(module, name), type)
        if issubclass(getattr(module, name), BaseException)
    }
    assert {name for name in public if f"`{name}`" not in text} == set()


def test_every_code_of_the_server_is_explained_with_its_status() -> None:
    rows = re.findall(
        r"(?m)^\| `(\w+)` \| (\d+) \|", section(page("errors.md"), "## Codes of the server")
    )
    assert {name: int(status) for name, status in rows} == STATUS
    assert ErrorResponse(code="NotFound", message="").code in STATUS


def test_every_exit_code_of_the_server_is_explained() -> None:
    codes = {value for name, value in vars(server_main).items() if name.startswith("EXIT_")}
    rows = re.findall(r"(?m)^\| (\d) \|", section(page("errors.md"), "## Exit codes"))
    assert {int(code) for code in rows} == {0, *codes}


def test_every_environment_variable_is_explained() -> None:
    read = {
        name
        for folder in ("operator", "worker_image", "tests/support")
        for path in (CHECKOUT / folder).rglob("*.py")
        for name in re.findall(r"\bPERDURE_[A-Z_]+\b", path.read_text(encoding="utf-8"))
    }
    explained = set(re.findall(r"`(PERDURE_[A-Z_]+)`", page("configuration.md")))
    assert explained == read


def options_of(parser: argparse.ArgumentParser) -> set[str]:
    return {name for action in parser._actions for name in action.option_strings} - {"-h", "--help"}


def test_every_option_of_the_operator_is_explained() -> None:
    text = section(page("configuration.md"), "## perdure-operator")
    assert set(first_cells(text)) == options_of(operator_parser())


def test_every_option_of_the_server_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[argparse.ArgumentParser] = []

    def parse(parser: argparse.ArgumentParser, *_: object) -> argparse.Namespace:
        seen.append(parser)
        return argparse.Namespace()

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", parse)
    server_main._parse([])
    text = section(page("configuration.md"), "## perdure-server")
    assert set(first_cells(text)) == options_of(seen[0])


def test_the_glossary_is_in_the_words_of_the_code() -> None:
    text = page("glossary.md")
    for word in ("workflow", "run", "activity", "step", "task", "command", "event", "lease"):
        assert f"\n| {word} |" in text
