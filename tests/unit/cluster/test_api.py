"""The adapter on an API server that a test plays: what is sent, and what is not."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from kubernetes.aio.client import Configuration

from perdure_operator.cluster import (
    CONFIG_MAPS,
    JOBS,
    WORKFLOWS,
    ForbiddenError,
    NotLeadingError,
    ObjectRef,
    UnavailableError,
)
from perdure_operator.cluster.api import KubernetesCluster
from perdure_operator.cluster.limiter import RateLimiter

REF = ObjectRef(namespace="shop", name="order-42")


class Api:
    """What was asked, and what is answered."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.times: list[float] = []
        self.answers: list[web.Response] = []
        self.accepted = ""

    async def serve(self, request: web.Request) -> web.Response:
        self.asked.append(f"{request.method} {request.path}")
        self.times.append(asyncio.get_running_loop().time())
        self.accepted = request.headers["Accept"]
        return self.answers.pop(0) if self.answers else web.json_response({})


@pytest.fixture
async def api() -> AsyncIterator[tuple[Api, str]]:
    api, app = Api(), web.Application()
    app.router.add_route("*", "/{path:.*}", api.serve)
    async with TestServer(app) as server:
        yield api, str(server.make_url("")).rstrip("/")


def cluster(address: str, **options: object) -> KubernetesCluster:
    configuration = Configuration(host=address)
    limiter = RateLimiter(rate=1000, burst=1000)
    return KubernetesCluster(configuration, limiter=limiter, **options)  # type: ignore[arg-type] # by name


async def test_without_a_mandate_nothing_is_changed_and_everything_is_read(
    api: tuple[Api, str],
) -> None:
    def refuse(request: str) -> None:
        raise NotLeadingError(request, "not sent")

    played, address = api
    manifest = {"metadata": {"namespace": "shop", "name": "order-42"}}
    async with cluster(address, may_write=refuse) as own:
        for write in (
            own.create(JOBS, manifest),
            own.apply(WORKFLOWS, manifest),
            own.apply_status(WORKFLOWS, manifest),
            own.delete(JOBS, REF, uid="u"),
        ):
            with pytest.raises(NotLeadingError):
                await write
        assert played.asked == []
        await own.get(WORKFLOWS, REF)
        await own.list(JOBS, "shop", labels={})
    assert [each.split()[0] for each in played.asked] == ["GET", "GET"]


async def test_the_mandate_is_asked_after_the_wait_for_the_limit(api: tuple[Api, str]) -> None:
    played, address = api
    asked: list[float] = []
    limiter = RateLimiter(rate=1000, burst=1)
    limiter.pause(0.2)
    configuration = Configuration(host=address)
    began = asyncio.get_running_loop().time()

    def note(_request: str) -> None:
        asked.append(asyncio.get_running_loop().time() - began)

    async with KubernetesCluster(configuration, limiter=limiter, may_write=note) as own:
        await own.delete(JOBS, REF, uid="u")
    assert played.asked
    assert asked[0] >= 0.2


async def test_a_busy_api_server_is_left_alone_for_as_long_as_it_asks(
    api: tuple[Api, str],
) -> None:
    played, address = api
    played.answers = [web.Response(status=429, headers={"Retry-After": "0.2"}, text="{}")]
    async with cluster(address) as own:
        with pytest.raises(UnavailableError):
            await own.get(WORKFLOWS, REF)
        await own.get(WORKFLOWS, REF)
    assert played.times[1] - played.times[0] >= 0.2


async def test_names_are_watched_without_what_is_in_the_objects(api: tuple[Api, str]) -> None:
    played, address = api
    long = {"kubectl.kubernetes.io/last-applied-configuration": "x" * 300_000}
    events = [
        {"type": "ADDED", "object": {"metadata": {"name": "code", "annotations": long}}},
        {"type": "MODIFIED", "object": {"metadata": {"name": "other"}}},
        {"type": "ERROR", "object": {"code": 410}},
        {"type": "ADDED", "object": {"metadata": {"name": "never"}}},
    ]
    text = "".join(f"{json.dumps(event)}\n" for event in events)
    played.answers = [web.Response(text=text), web.Response(status=403, text="{}")]
    async with cluster(address) as own:
        assert [name async for name in own.watch_names(CONFIG_MAPS, "shop")] == ["code", "other"]
        assert "PartialObjectMetadata" in played.accepted
        with pytest.raises(ForbiddenError):
            _ = [name async for name in own.watch_names(CONFIG_MAPS, "shop")]
    async with cluster("http://127.0.0.1:1") as nowhere:
        with pytest.raises(UnavailableError):
            _ = [name async for name in nowhere.watch_names(CONFIG_MAPS, "shop")]
