"""An operator that leads no more changes nothing at the server."""

from __future__ import annotations

import pytest
from aiohttp.test_utils import TestClient, TestServer

from perdure.protocol.fencing import HEADER, FencingToken
from perdure_operator.server.app import build_app
from perdure_operator.server.errors import VerbError
from perdure_operator.server.fencing import MAX_SCOPES, Fences
from support.hosts import World


def token(term: int, *, epoch: int = 7, scope: str = "perdure/operator") -> str:
    return str(FencingToken(scope=scope, epoch=epoch, term=term))


def test_an_older_term_is_refused_once_a_newer_one_was_heard() -> None:
    fences = Fences()
    fences.check("operator", token(1))
    fences.check("operator", token(2))
    with pytest.raises(VerbError, match="term 2 has begun") as refused:
        fences.check("operator", token(1))
    assert refused.value.code == "Fenced"
    with pytest.raises(VerbError):
        fences.check("operator", token(1))
    fences.check("operator", token(2))
    with pytest.raises(VerbError):
        fences.check("operator", token(1))


def test_a_lease_that_is_made_anew_begins_after_all_terms_of_the_one_before() -> None:
    fences = Fences()
    fences.check("operator", token(900))
    fences.check("operator", token(1, epoch=8))
    with pytest.raises(VerbError):
        fences.check("operator", token(901))


def test_of_too_many_scopes_the_one_unused_for_longest_is_forgotten() -> None:
    fences = Fences()
    for number in range(MAX_SCOPES + 1):
        fences.check("operator", token(2, scope=f"perdure/{number}"))
    fences.check("operator", token(1, scope="perdure/0"))
    with pytest.raises(VerbError):
        fences.check("operator", token(1, scope=f"perdure/{MAX_SCOPES}"))


def test_nobody_is_fenced_off_by_somebody_else() -> None:
    fences = Fences()
    fences.check("mallory", token(99))
    fences.check("operator", token(99, scope="other/operator"))
    fences.check("operator", token(1))


def test_who_sends_no_token_is_not_asked_for_one() -> None:
    fences = Fences()
    fences.check("operator", token(5))
    fences.check("operator", None)


@pytest.mark.parametrize("header", ["", "x", "perdure/operator", "perdure/operator 1", "a -1.2"])
def test_what_is_no_token_is_refused_with_words(header: str) -> None:
    with pytest.raises(VerbError, match=r"SCOPE EPOCH\.TERM"):
        Fences().check("operator", header)


def test_a_token_survives_the_wire() -> None:
    sent = FencingToken(scope="perdure/operator", epoch=1_790_000_000, term=17)
    assert FencingToken.parse(str(sent)) == sent


def test_fences_are_bounded() -> None:
    fences = Fences()
    for number in range(MAX_SCOPES + 10):
        fences.check("operator", token(2, scope=f"s{number}/operator"))
    assert len(fences._newest) == MAX_SCOPES


async def test_a_late_call_of_a_former_leader_does_nothing() -> None:
    async with World() as world, TestClient(TestServer(build_app(world.host))) as client:
        run_id = await world.start()
        target = {"namespace": "default", "workflow_id": "order-42"}
        watch = {"wait": 0}
        async with client.post("/api/v1/watch", json=watch, headers={HEADER: token(2)}) as answer:
            assert answer.status == 200
        async with client.post(
            "/api/v1/terminate", json=target, headers={HEADER: token(1)}
        ) as answer:
            assert answer.status == 409
            assert (await answer.json())["code"] == "Fenced"
        row = await world.host.store.get_run(run_id)
        assert row is not None
        assert row.closed is None
