"""Who is let in, what is remembered and for how long, and that no verdict means no."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace

import pytest

from perdure_operator.cluster import Identity, Right
from perdure_operator.server.errors import VerbError
from perdure_operator.server.gates import ANYONE, KubernetesGate, OpenGate
from perdure_operator.server.remembering import Keeping, Remembered
from support.reviewing import FakeReviewer

pytestmark = pytest.mark.looptime

ANN = Identity(username="ann")
MAY = ("ann", "patch", "workflows", "shop")


def patch(name: str = "", namespace: str = "shop") -> Right:
    return Right(verb="patch", resource="workflows", namespace=namespace, name=name)


def gate(reviewer: FakeReviewer) -> KubernetesGate:
    return KubernetesGate(reviewer, clock=asyncio.get_running_loop().time)


async def refusal(work: object) -> VerbError:
    with pytest.raises(VerbError) as error:
        await work  # type: ignore[misc]  # a coroutine
    return error.value


async def test_an_open_gate_asks_nobody() -> None:
    identity = await OpenGate().identify(None)
    await OpenGate().check(identity, [patch()])
    assert identity == ANYONE


async def test_a_token_is_reviewed_once_in_ten_seconds() -> None:
    reviewer = FakeReviewer()
    asked = gate(reviewer)
    for _ in range(3):
        assert await asked.identify("Bearer ann") == ANN
    assert len(reviewer.asked) == 1
    await asyncio.sleep(10)
    await asked.identify("bearer ann")
    assert len(reviewer.asked) == 2
    assert reviewer.asked[0] == "token ann for perdure"


@pytest.mark.parametrize(
    "header",
    [None, "", "Bearer", "Bearer ", "Basic YW5uOmFubg==", "Bearer eve", "Bearer " + "x" * 20_000],
    ids=["none", "empty", "no-token", "blank", "other-scheme", "unknown", "endless"],
)
async def test_who_has_no_good_token_is_told_how_to_get_one(header: str | None) -> None:
    error = await refusal(gate(FakeReviewer()).identify(header))
    assert (error.code, error.status) == ("Unauthorized", 401)
    assert "kubectl create token ACCOUNT --audience perdure" in str(error)
    assert "x" * 100 not in str(error)


async def test_a_right_that_is_missing_is_forbidden_and_asked_for_again_after_two_seconds() -> None:
    reviewer = FakeReviewer()
    asked = gate(reviewer)
    error = await refusal(asked.check(ANN, [patch()]))
    assert (error.code, error.status) == ("Forbidden", 403)
    reviewer.rules.add(MAY)
    await refusal(asked.check(ANN, [patch()]))
    await asyncio.sleep(2)
    await asked.check(ANN, [patch()])


async def test_a_right_that_is_taken_away_ends_within_ten_seconds() -> None:
    reviewer = FakeReviewer(MAY)
    asked = gate(reviewer)
    await asked.check(ANN, [patch()])
    reviewer.rules.clear()
    await asked.check(ANN, [patch()])
    await asyncio.sleep(10)
    assert (await refusal(asked.check(ANN, [patch()]))).code == "Forbidden"


async def test_a_right_of_one_namespace_is_none_in_another() -> None:
    asked = gate(FakeReviewer(MAY))
    await asked.check(ANN, [patch("a")])
    assert (await refusal(asked.check(ANN, [patch("a", "bank")]))).code == "Forbidden"
    assert (await refusal(asked.check(ANN, [patch("a", "")]))).code == "Forbidden"


async def test_every_right_of_several_is_needed() -> None:
    other = Right(verb="create", resource="workflows", namespace="shop")
    assert (await refusal(gate(FakeReviewer(MAY)).check(ANN, [patch(), other]))).code == "Forbidden"


async def test_ten_thousand_runs_of_a_namespace_are_one_review() -> None:
    reviewer = FakeReviewer(MAY)
    asked = gate(reviewer)
    for number in range(10_000):
        await asked.check(ANN, [patch(f"order-{number}")])
    assert len(reviewer.asked) == 1


async def test_a_right_for_one_run_is_enough_for_that_run_and_no_other() -> None:
    reviewer = FakeReviewer()
    reviewer.named.add(("ann", "mine"))
    asked = gate(reviewer)
    await asked.check(ANN, [patch("mine")])
    assert (await refusal(asked.check(ANN, [patch("yours")]))).code == "Forbidden"


async def test_without_a_verdict_nobody_comes_in_and_it_is_asked_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    reviewer = FakeReviewer(MAY)
    reviewer.is_away = True
    asked = gate(reviewer)
    with caplog.at_level(logging.DEBUG):
        for work in (asked.identify("Bearer secret-ann"), asked.check(ANN, [patch()])):
            error = await refusal(work)
            assert (error.code, error.status) == ("Unavailable", 503)
            assert "nothing was done" in str(error)
    reviewer.is_away = False
    assert await asked.identify("Bearer ann") == ANN
    await asked.check(ANN, [patch()])
    assert "secret-ann" not in caplog.text


async def test_a_reviewer_that_does_not_answer_is_not_waited_for_long() -> None:
    class Silent(FakeReviewer):
        async def review_right(self, identity: Identity, right: Right) -> object:  # type: ignore[override]  # it never returns
            await asyncio.sleep(3600)

    began = asyncio.get_running_loop().time()
    assert (await refusal(gate(Silent()).check(ANN, [patch()]))).code == "Unavailable"
    assert asyncio.get_running_loop().time() - began == pytest.approx(5)


async def test_those_who_ask_at_once_share_one_review_and_one_who_goes_takes_it_from_nobody() -> (
    None
):
    asked: list[str] = []

    async def ask() -> bool:
        asked.append("")
        await asyncio.sleep(1)
        return True

    memory: Remembered[str, bool] = Remembered(
        clock=asyncio.get_running_loop().time, is_good=lambda verdict: verdict
    )
    first, second = (asyncio.create_task(memory.get("k", ask)) for _ in range(2))
    await asyncio.sleep(0.5)
    first.cancel()
    assert await second is True
    assert len(asked) == 1


async def test_what_is_remembered_is_bounded_and_the_longest_unused_goes_first() -> None:
    asked: list[int] = []

    async def look(number: int) -> bool:
        async def ask() -> bool:
            asked.append(number)
            return True

        return await memory.get(number, ask)

    memory: Remembered[int, bool] = Remembered(
        clock=asyncio.get_running_loop().time, is_good=bool, keeping=Keeping(size=2)
    )
    for number in (1, 2, 1, 3):
        await look(number)
    assert len(memory) == 2
    await look(1)
    assert asked == [1, 2, 3]
    await look(2)
    assert asked == [1, 2, 3, 2]


def account(namespace: str, name: str = "default", group: str | None = None) -> Identity:
    group = f"system:serviceaccounts:{namespace}" if group is None else group
    return Identity(username=f"system:serviceaccount:{namespace}:{name}", groups=(group,))


WORK = Right(
    verb="create", resource="workerpools", subresource="connect", namespace="shop", name="q"
)


async def test_an_account_may_work_in_its_own_namespace_without_being_asked_about() -> None:
    reviewer = FakeReviewer()
    asked = KubernetesGate(reviewer, workers_at_home=True)
    await asked.check(account("shop"), [WORK])
    assert not reviewer.asked
    assert (await refusal(gate(reviewer).check(account("shop"), [WORK]))).code == "Forbidden"


@pytest.mark.parametrize(
    ("identity", "right"),
    [
        pytest.param(account("bank"), WORK, id="of-another-namespace"),
        pytest.param(account("shop-2"), WORK, id="of-one-that-begins-alike"),
        pytest.param(account("shop"), replace(WORK, namespace=""), id="in-all-namespaces"),
        pytest.param(account("shop"), replace(WORK, subresource=""), id="make-pools"),
        pytest.param(account("shop"), replace(WORK, verb="get"), id="another-verb"),
        pytest.param(account("shop"), replace(WORK, resource="activities"), id="another-kind"),
        pytest.param(account("shop", group=""), WORK, id="by-name-alone"),
        pytest.param(Identity(username="ann", groups=("system:serviceaccounts:shop",)), WORK,
                     id="by-group-alone"),
        pytest.param(Identity(username=":", groups=("system:serviceaccounts:",)),
                     replace(WORK, namespace=""), id="of-no-namespace"),
    ],
)  # fmt: skip
async def test_nothing_else_comes_with_an_account(identity: Identity, right: Right) -> None:
    reviewer = FakeReviewer()
    asked = KubernetesGate(reviewer, workers_at_home=True)
    assert (await refusal(asked.check(identity, [right]))).code == "Forbidden"
    assert reviewer.asked


async def test_who_was_granted_it_may_work_elsewhere_too() -> None:
    reviewer = FakeReviewer(("ann", "create", "workerpools/connect", "shop"))
    await KubernetesGate(reviewer, workers_at_home=True).check(ANN, [WORK])
