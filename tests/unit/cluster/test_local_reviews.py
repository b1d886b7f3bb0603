"""Tokens by the cluster's keys and rights in one namespace: what is taken, and what never is."""

from __future__ import annotations

import json
import time
from base64 import urlsafe_b64encode
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from perdure.protocol.tickets import new_ticket
from perdure_operator.cluster import Identity, Manifest, NotFoundError, Right, RightVerdict
from perdure_operator.cluster.errors import UnavailableError
from perdure_operator.cluster.local_reviews import DISCOVERY, FRESH, KEYS, PAUSE, LocalReviewer

ISSUER = "https://kubernetes.default.svc.cluster.local"
DAY = 86_400
"""Seconds. Tokens are made when tests are collected, long before these may be run."""
KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
OTHER = rsa.generate_private_key(public_exponent=65537, key_size=2048)
CURVE = ec.generate_private_key(ec.SECP256R1())
USERNAME = "system:serviceaccount:shop:till"


def key_of(key: rsa.RSAPrivateKey, kid: str) -> Manifest:
    found = json.loads(RSAAlgorithm.to_jwk(key.public_key()))
    return {**found, "kid": kid, "alg": "RS256", "use": "sig"}


class Api:
    """What the API server publishes and answers."""

    def __init__(self) -> None:
        curve = json.loads(ECAlgorithm.to_jwk(CURVE.public_key()))
        self.keys = [key_of(KEY, "k1"), {**curve, "kid": "k2", "alg": "ES256"}]
        self.reads: list[str] = []
        self.asked: list[tuple[str, str, str]] = []
        self.error: Exception | None = None

    async def read(self, path: str) -> Manifest:
        self.reads.append(path)
        if self.error is not None:
            raise self.error
        return {DISCOVERY: {"issuer": ISSUER}, KEYS: {"keys": self.keys}}[path]

    async def review_right_in(
        self, namespace: str, identity: Identity, right: Right
    ) -> RightVerdict:
        self.asked.append((namespace, identity.username, right.verb))
        return RightVerdict(allowed=True)


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def claims(**changes: Any) -> dict[str, Any]:
    now = int(time.time())
    found = {
        "aud": ["perdure"],
        "exp": now + DAY,
        "iat": now,
        "nbf": now,
        "iss": ISSUER,
        "sub": USERNAME,
        "kubernetes.io": {
            "namespace": "shop",
            "serviceaccount": {"name": "till", "uid": "u1"},
            "pod": {"name": "till-1", "uid": "p1"},
        },
        **changes,
    }
    return {name: value for name, value in found.items() if value is not None}


def token(key: Any = KEY, kid: str | None = "k1", algorithm: str = "RS256", **changes: Any) -> str:
    headers = {"kid": kid} if kid else {}
    return jwt.encode(claims(**changes), key, algorithm=algorithm, headers=headers)


async def verdict(given: str, api: Api | None = None) -> str:
    """Return the user's name, or why it is nobody."""
    found = await LocalReviewer(api or Api(), "shop").review_token(given, "perdure")
    return found.identity.username if found.identity else f"no: {found.reason}"


@pytest.mark.parametrize(
    "given", [token(), token(CURVE, "k2", "ES256"), token(aud="perdure")], ids=["rsa", "ec", "aud"]
)
async def test_a_token_of_the_cluster_speaks_for_its_account(given: str) -> None:
    found = await LocalReviewer(Api(), "shop").review_token(given, "perdure")
    assert found.identity == Identity(
        username=USERNAME,
        uid="u1",
        groups=(
            "system:serviceaccounts",
            "system:serviceaccounts:shop",
            "system:authenticated",
        ),
    )


def public_pem() -> bytes:
    return KEY.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def by_hand(header: dict[str, Any], signature: str = "") -> str:
    parts = (json.dumps(each).encode() for each in (header, claims()))
    return ".".join([*(urlsafe_b64encode(each).decode().rstrip("=") for each in parts), signature])


def confused() -> str:
    """Return a token that is signed with the public key as if that were a secret."""
    import hashlib
    import hmac

    body = by_hand({"alg": "HS256", "typ": "JWT", "kid": "k1"}).rpartition(".")[0]
    mac = hmac.new(public_pem(), body.encode(), hashlib.sha256).digest()
    return f"{body}.{urlsafe_b64encode(mac).decode().rstrip('=')}"


@pytest.mark.parametrize(
    ("given", "why"),
    [
        pytest.param(token(aud=["vault"]), "not made for audience", id="another-audience"),
        pytest.param(token(aud=[ISSUER]), "not made for audience", id="for-the-api-server"),
        pytest.param(token(aud=None), "aud", id="no-audience"),
        pytest.param(token(exp=int(time.time()) - 60), "expired", id="expired"),
        pytest.param(token(exp=None), "exp", id="without-an-end"),
        pytest.param(token(nbf=int(time.time()) + DAY), "not yet valid", id="not-yet"),
        pytest.param(token(iss="https://elsewhere"), "issuer", id="another-issuer"),
        pytest.param(token(iss=None), "iss", id="no-issuer"),
        pytest.param(token(OTHER), "Signature", id="another-key-under-the-name"),
        pytest.param(token(OTHER, "k9"), "not signed by this cluster", id="unknown-key"),
        pytest.param(token(kid=None), "not signed by this cluster", id="no-key-named"),
        pytest.param(token(sub="system:serviceaccount:bank:till"), "not a ServiceAccount's",
                     id="subject-and-claim-differ"),
        pytest.param(token(**{"kubernetes.io": None}), "not a ServiceAccount's", id="no-account"),
        pytest.param(by_hand({"alg": "none", "kid": "k1"}), "", id="unsigned"),
        pytest.param(confused(), "", id="public-key-as-a-secret"),
        pytest.param("garbage", "", id="garbage"),
        pytest.param("a.b.c", "", id="no-json"),
        pytest.param(new_ticket(), "takes no tickets", id="ticket"),
    ],
)  # fmt: skip
async def test_any_other_token_is_nobodys(given: str, why: str) -> None:
    found = await verdict(given)
    assert found.startswith("no: ")
    assert why in found
    assert given not in found


async def test_keys_that_sign_in_a_way_that_kubernetes_does_not_are_passed_over() -> None:
    api = Api()
    secret = urlsafe_b64encode(b"s" * 32).decode().rstrip("=")
    api.keys.append({"kty": "oct", "k": secret, "kid": "k3", "alg": "HS256"})
    assert "not signed" in await verdict(token("s" * 32, "k3", "HS256"), api)


async def test_keys_are_read_once_and_anew_when_they_are_old_or_one_is_not_known() -> None:
    api, clock = Api(), Clock()
    reviewer = LocalReviewer(api, "shop", clock=clock)
    for _ in range(3):
        assert (await reviewer.review_token(token(), "perdure")).identity
    assert api.reads == [DISCOVERY, KEYS]

    # A made-up key's name makes it read again, but not each time.
    clock.now += PAUSE
    for _ in range(3):
        assert not (await reviewer.review_token(token(OTHER, "k9"), "perdure")).identity
    assert len(api.reads) == 4
    api.keys.append(key_of(OTHER, "k9"))
    clock.now += PAUSE
    assert (await reviewer.review_token(token(OTHER, "k9"), "perdure")).identity

    # One that was taken away is trusted no longer.
    del api.keys[0]
    assert (await reviewer.review_token(token(), "perdure")).identity
    clock.now += FRESH
    assert not (await reviewer.review_token(token(), "perdure")).identity


async def test_a_cluster_that_publishes_no_keys_is_said_with_what_to_do() -> None:
    api = Api()
    api.error = NotFoundError("get /openid/v1/jwks", "404")
    with pytest.raises(NotFoundError, match="install for the cluster"):
        await LocalReviewer(api, "shop").review_token(token(), "perdure")
    api.error = UnavailableError("get /openid/v1/jwks", "connection refused")
    with pytest.raises(UnavailableError):
        await LocalReviewer(api, "shop").review_token(token(), "perdure")


async def test_rights_are_asked_in_the_namespace_and_there_are_none_elsewhere() -> None:
    api = Api()
    reviewer, who = LocalReviewer(api, "shop"), Identity(username=USERNAME)
    right = Right(verb="get", resource="workflows", namespace="shop")
    assert (await reviewer.review_right(who, right)).allowed
    for namespace in ("bank", ""):
        other = Right(verb="get", resource="workflows", namespace=namespace)
        assert not (await reviewer.review_right(who, other)).allowed
    assert api.asked == [("shop", USERNAME, "get")]
