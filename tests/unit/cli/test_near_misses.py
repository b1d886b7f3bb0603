"""An id that there is no run of: what a person may have meant."""

from __future__ import annotations

from typing import Any

import pytest

from perdure.cli.near_misses import near_misses
from perdure.client import RPCError, RPCStatusCode
from perdure.protocol import verbs as vb
from perdure_operator.server.errors import VerbError
from support.hosts import World


def no_run_of(workflow_id: str, namespace: str = "shop") -> RPCError:
    message = f"no run of {workflow_id!r} in namespace {namespace!r}"
    return RPCError(message, RPCStatusCode.NOT_FOUND, code="NotFound", http_status=404)


def runs(*ids: str) -> vb.ListResponse:
    return vb.ListResponse(
        runs=tuple(
            vb.RunSummary(
                namespace="shop",
                workflow_id=each,
                run_id=f"run-{each}",
                workflow_type="Order",
                task_queue="orders",
                status=vb.RunStatus.RUNNING,
                started=0,
                events=1,
            )
            for each in ids
        )
    )


def cancel(perdure: Any, workflow_id: str, listed: Any) -> Any:
    answers = {vb.CancelRequest: no_run_of(workflow_id), vb.ListRequest: listed}
    return perdure("cancel", workflow_id, "-n", "shop", answers=answers)


def test_ids_that_are_alike_are_named(perdure: Any) -> None:
    done = cancel(perdure, "order-24", runs("order-42", "refund-1", "order-2"))
    assert done.code == 4
    assert done.err == (
        "perdure: no run of 'order-24' in namespace 'shop': did you mean 'order-2' or 'order-42'?\n"
    )
    assert done.requests[-1].namespace == "shop"


def test_nothing_alike_leads_to_the_list(perdure: Any) -> None:
    done = cancel(perdure, "x", runs("order-42"))
    assert done.err.endswith("'shop': `perdure list --all-namespaces` shows what there is\n")


def test_an_empty_namespace_is_said(perdure: Any) -> None:
    done = cancel(perdure, "order-42", runs())
    assert "in namespace 'shop', which has no runs at all" in done.err


def test_who_may_not_list_is_told_what_the_server_said(perdure: Any) -> None:
    refused = RPCError("no right", RPCStatusCode.PERMISSION_DENIED, code="Forbidden")
    done = cancel(perdure, "order-42", refused)
    assert (done.code, done.err) == (4, "perdure: no run of 'order-42' in namespace 'shop'\n")


@pytest.mark.parametrize(
    ("wanted", "there", "meant"),
    [
        pytest.param("ORDER-42", ["order-42"], ["order-42"], id="case"),
        pytest.param("order", ["order-42", "refund-1"], ["order-42"], id="beginning"),
        pytest.param("oder-42", ["order-42"], ["order-42"], id="letter"),
        pytest.param("payment", ["order-42"], [], id="nothing"),
        pytest.param("o", [f"o{n}" for n in range(9)], ["o0", "o1", "o2"], id="not-too-many"),
    ],
)
def test_what_is_alike(wanted: str, there: list[str], meant: list[str]) -> None:
    assert sorted(near_misses(wanted, dict.fromkeys(there))) == meant


async def test_the_servers_own_words_are_understood() -> None:
    async with World() as world:
        with pytest.raises(VerbError) as caught:
            await world.verbs.cancel(vb.CancelRequest(namespace="shop", workflow_id="order-42"))
    assert str(caught.value) == no_run_of("order-42").message
