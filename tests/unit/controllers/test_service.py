"""The adapter over the client's service: errors become types, and calls are bounded."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, cast

import pytest

from perdure.client import RPCError, RPCStatusCode, Service
from perdure.protocol.verbs import DescribeRequest, StartResponse, WatchRequest
from perdure_operator.controllers.server import (
    AlreadyClosedError,
    AlreadyStartedError,
    RequestRefusedError,
    RunNotFoundError,
    ServerError,
    ServerUnavailableError,
)
from perdure_operator.controllers.service import ServiceServer


class Answering:
    """What the adapter asks of a service."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer
        self.timeouts: list[timedelta] = []

    async def call(self, request: Any, *, timeout: timedelta) -> Any:
        self.timeouts.append(timeout)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def server(answer: Any, counted: list[tuple[str, str]] | None = None) -> ServiceServer:
    seen = [] if counted is None else counted
    return ServiceServer(
        cast("Service", Answering(answer)), observe=lambda verb, code: seen.append((verb, code))
    )


REQUEST = DescribeRequest(namespace="shop", workflow_id="order-42")


@pytest.mark.parametrize(
    ("code", "error"),
    [
        ("NotFound", RunNotFoundError),
        ("AlreadyStarted", AlreadyStartedError),
        ("AlreadyClosed", AlreadyClosedError),
        ("Invalid", RequestRefusedError),
        ("TooLarge", RequestRefusedError),
        ("Unavailable", ServerUnavailableError),
        ("Unauthorized", ServerUnavailableError),
        ("", ServerUnavailableError),
    ],
)
async def test_each_refusal_is_an_error_of_its_own(code: str, error: type[ServerError]) -> None:
    counted: list[tuple[str, str]] = []
    refusal = RPCError("why", RPCStatusCode.UNKNOWN, code=code, run_id="r1")
    with pytest.raises(error, match="why") as caught:
        await server(refusal, counted).call(REQUEST)

    assert caught.value.run_id == "r1"
    assert counted == [("describe", code or "Unavailable")]


async def test_an_answer_is_given_back_and_counted() -> None:
    counted: list[tuple[str, str]] = []
    answer = StartResponse(run_id="r1")

    assert await server(answer, counted).call(REQUEST) is answer
    assert counted == [("describe", "")]


async def test_a_long_poll_is_given_its_time() -> None:
    service = Answering(StartResponse(run_id="r1"))
    adapter = ServiceServer(cast("Service", service))
    await adapter.call(REQUEST)
    await adapter.call(WatchRequest(wait=20_000))

    assert service.timeouts[1] - service.timeouts[0] == timedelta(seconds=20)
