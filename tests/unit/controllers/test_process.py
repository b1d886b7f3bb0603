"""The operator's process: its options, its health, and kopf's part."""

from __future__ import annotations

import logging
import socket
from itertools import islice

import aiohttp
import pytest

from perdure_operator.cluster import ClusterError, UnavailableError
from perdure_operator.controllers import main
from perdure_operator.controllers.handlers import build_registry, build_settings
from perdure_operator.controllers.health import serve_health
from perdure_operator.controllers.intake import Intake
from perdure_operator.controllers.lanes import Lanes
from perdure_operator.controllers.metrics import Metrics
from perdure_operator.controllers.options import parse_options
from perdure_operator.controllers.outages import Outages, SeldomRetries
from support.operator_scene import Scene

NEEDED = ["--server", "http://127.0.0.1:7233", "--default-image", "worker:1"]


def test_options_have_defaults() -> None:
    options = parse_options(NEEDED)

    assert options.worker_server == "http://127.0.0.1:7233"
    assert options.namespaces == ()
    assert options.liveness_port == 8081
    assert options.show_after.total_seconds() == 2


def test_namespaces_may_be_given_more_than_once() -> None:
    options = parse_options([*NEEDED, "--namespace", "a", "--namespace", "b"])

    assert options.namespaces == ("a", "b")


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param([], id="nothing"),
        pytest.param([*NEEDED, "--qps", "0"], id="no-calls"),
        pytest.param([*NEEDED, "--workers", "0"], id="no-workers"),
        pytest.param([*NEEDED, "--show-after", "-1"], id="shown-before-it-begins"),
    ],
)
def test_wrong_options_end_the_process_with_words(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        parse_options(arguments)

    assert "error:" in capsys.readouterr().err


async def test_the_health_port_tells_life_and_metrics() -> None:
    alive = True
    metrics = Metrics()
    metrics.api_call("get", "jobs", 200, 0.1)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    async with (
        serve_health(port, metrics, lambda: alive) as bound,
        aiohttp.ClientSession(f"http://127.0.0.1:{bound}") as client,
    ):
        assert bound == port
        async with client.get("/healthz") as answer:
            assert answer.status == 200
        async with client.get("/metrics") as answer:
            assert "perdure_operator_api_requests_total" in await answer.text()
        alive = False
        async with client.get("/healthz") as answer:
            assert answer.status == 500


async def test_kopf_has_nothing_to_write() -> None:
    scene = Scene()
    registry = build_registry(Intake(scene.world, Lanes()), in_cluster=False)
    settings = build_settings()

    assert not registry._changing.get_all_handlers()
    assert not registry._spawning.get_all_handlers()
    assert not registry._indexing.get_all_handlers()
    assert not settings.posting.enabled
    assert settings.peering.standalone
    assert settings.scanning.disabled


async def test_kopf_watches_what_is_ours_and_no_more() -> None:
    scene = Scene()
    registry = build_registry(Intake(scene.world, Lanes()), in_cluster=True)
    selectors = [handler.selector for handler in registry._watching.get_all_handlers()]

    assert {str(each.any_name) for each in selectors if each} == {
        "workflows",
        "activities",
        "workerpools",
        "schedules",
        "jobs",
        "pods",
    }
    assert len(build_settings().watching.label_selectors) == 2


class Discovering:
    """A cluster that has the kinds only after some looks."""

    def __init__(self, *answers: frozenset[str] | ClusterError) -> None:
        self.answers = list(answers)

    async def serves(self, group: str, version: str) -> frozenset[str]:
        assert (group, version) == ("perdure.dev", "v1alpha1")
        answer = self.answers.pop(0)
        if isinstance(answer, ClusterError):
            raise answer
        return answer


@pytest.mark.looptime
async def test_the_operator_waits_for_its_kinds(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    kinds = frozenset({"workflows", "activities", "workerpools", "schedules", "workflows/status"})
    cluster = Discovering(UnavailableError("discover", "away"), frozenset({"workflows"}), kinds)
    await main.wait_for_kinds(cluster)  # type: ignore[arg-type] # it asks no more than this

    assert not cluster.answers
    assert [record.levelname for record in caplog.records] == ["ERROR", "ERROR", "INFO"]
    assert "kubectl apply --server-side -f crds/" in caplog.text


@pytest.mark.looptime
async def test_missing_kinds_are_said_once_and_then_seldom(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO")
    kinds = frozenset({"workflows", "activities", "workerpools", "schedules"})
    cluster = Discovering(*[frozenset[str]()] * 200, kinds)
    await main.wait_for_kinds(cluster)  # type: ignore[arg-type] # it asks no more than this

    assert [record.levelname for record in caplog.records] == ["ERROR", "ERROR", "INFO"]


def test_an_outage_is_said_once_and_its_end_as_well(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    time = 0.0
    outages = Outages(clock=lambda: time)
    outages.server_call("")
    for _ in range(100):
        outages.server_call("Unavailable")
        outages.api_call(0)
        time += 1
    outages.server_call("NotFound")
    outages.api_call(200)
    outages.api_call(429)

    assert [record.message.split(":")[0] for record in caplog.records] == [
        "the Perdure server is away (no answer, or it cannot record anything)",
        "the Kubernetes API is away (no answer)",
        "the Perdure server is back after 100.0 s",
        "the Kubernetes API is back after 100.0 s",
        "the Kubernetes API is away (HTTP 429)",
    ]


def test_kopf_says_seldom_that_it_tries_again() -> None:
    time = 0.0
    seldom = SeldomRetries(clock=lambda: time)

    def is_written(name: str, text: str) -> bool:
        return seldom.filter(logging.LogRecord(name, logging.ERROR, "", 1, text, (), None))

    url = "http://api/apis/batch/v1/jobs"
    for number in range(1, 20):
        text = f"Request attempt #{number} failed; will retry: GET {url}?v={number} -> gone"
        assert is_written("kopf._cogs.clients.watching", text) is (number == 1)
    assert is_written("kopf.x", "Request attempt #1 failed; will retry: GET http://api/pods -> x")
    assert is_written("perdure_operator", "Request attempt #1 failed; will retry: GET a -> x")
    assert is_written("kopf.x", "something else")
    time = 301.0
    assert is_written("kopf.x", f"Request attempt #99 failed; will retry: GET {url} -> gone")


def test_kopf_waits_for_an_api_server_that_is_away_for_hours() -> None:
    waits = list(islice(build_settings().networking.error_backoffs, 1000))
    assert max(waits) == 10.0
    assert sum(waits) > 9000
