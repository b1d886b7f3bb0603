"""What the API server's reviews say, and what is not taken for a yes."""

from __future__ import annotations

from typing import Any

import pytest

from perdure_operator.cluster import Identity, Right
from perdure_operator.cluster.reviews import (
    access_spec,
    read_access_status,
    read_token_status,
    token_spec,
)

USER = {
    "username": "system:serviceaccount:shop:till",
    "uid": "u1",
    "groups": ["system:serviceaccounts"],
    "extra": {"pod": ["till-1"]},
}


def test_a_good_token_names_who_it_speaks_for() -> None:
    status: Any = {"authenticated": True, "audiences": ["perdure"], "user": USER}
    identity = read_token_status(status, "perdure").identity
    assert identity == Identity(
        username="system:serviceaccount:shop:till",
        uid="u1",
        groups=("system:serviceaccounts",),
        extra=(("pod", ("till-1",)),),
    )
    assert token_spec("t", "perdure") == {"token": "t", "audiences": ["perdure"]}


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        pytest.param({}, "", id="nothing"),
        pytest.param({"error": "it has expired"}, "it has expired", id="refused"),
        pytest.param({"authenticated": True, "user": USER}, "audience 'perdure'", id="no-audience"),
        pytest.param(
            {"authenticated": True, "audiences": ["other"], "user": USER},
            "audience 'perdure'",
            id="another-audience",
        ),
        pytest.param(
            {"authenticated": True, "audiences": ["perdure"]}, "names no user", id="nobody"
        ),
    ],
)
def test_anything_else_is_nobody(status: Any, reason: str) -> None:
    verdict = read_token_status(status, "perdure")
    assert verdict.identity is None
    assert reason in verdict.reason


@pytest.mark.parametrize(
    ("status", "allowed"),
    [
        ({"allowed": True}, True),
        ({"allowed": False}, False),
        ({}, False),
        ({"allowed": True, "denied": True}, False),
        ({"allowed": "true"}, False),
    ],
)
def test_only_a_plain_yes_is_a_yes(status: Any, allowed: bool) -> None:
    assert read_access_status(status).allowed is allowed


def test_a_review_of_a_right_says_who_and_what() -> None:
    identity = Identity(username="ann", groups=("staff",), extra=(("a", ("b",)),))
    spec = access_spec(identity, Right(verb="get", resource="workflows", namespace="shop"))
    assert spec["user"] == "ann"
    assert spec["groups"] == ["staff"]
    assert spec["extra"] == {"a": ["b"]}
    assert spec["resourceAttributes"] == {
        "verb": "get",
        "group": "perdure.dev",
        "resource": "workflows",
        "namespace": "shop",
    }
