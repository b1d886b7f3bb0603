"""Reviews without a cluster role: tokens by the cluster's public keys, rights in one namespace.

TokenReview and SubjectAccessReview are of the whole cluster, and so would be the right to create
them. What a ServiceAccount's token says is signed, and everybody in the cluster may read the keys
by which that is checked; a LocalSubjectAccessReview asks about one namespace and needs a Role
there. What is given up: a token whose account or pod is deleted stays good until it expires, and
nobody but ServiceAccounts can come (ADR 0029).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import jwt

from perdure_operator.cluster.errors import NotFoundError
from perdure_operator.cluster.port import Manifest
from perdure_operator.cluster.reviews import Identity, Right, RightVerdict, TokenVerdict
from perdure_operator.cluster.tickets import is_ticket

DISCOVERY = "/.well-known/openid-configuration"
KEYS = "/openid/v1/jwks"

ALGORITHMS = frozenset({"RS256", "ES256", "ES384", "ES512"})
"""With which Kubernetes signs; in particular none that takes a public key for a secret."""

FRESH = 300.0
"""Seconds after which the keys are read again: one that was taken away is trusted no longer."""
PAUSE = 5.0
"""Seconds between two readings for keys that are not known: anybody can name one."""
LEEWAY = 10
"""Seconds by which clocks may differ."""

_REQUIRED = ["aud", "exp", "iat", "iss", "sub"]


class Api(Protocol):
    """What is asked of the Kubernetes API."""

    async def read(self, path: str) -> Manifest:
        """Return the document at an address."""

    async def review_right_in(
        self, namespace: str, identity: Identity, right: Right
    ) -> RightVerdict:
        """Return whether somebody may do something in a namespace."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Issuer:
    name: str
    keys: Mapping[str, jwt.PyJWK]
    read_at: float


class LocalReviewer:
    """Reviews for a server of one namespace.

    Args:
        api: What is asked.
        namespace: The only one in which anybody has rights here.
        clock: What measures time, in seconds.
    """

    def __init__(
        self, api: Api, namespace: str, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._api = api
        self._namespace = namespace
        self._clock = clock
        self._issuer: _Issuer | None = None

    async def review_token(self, token: str, audience: str) -> TokenVerdict:
        """See :meth:`~perdure_operator.cluster.reviews.Reviewer.review_token`."""
        if is_ticket(token):
            return _no("an install for one namespace takes no tickets")
        try:
            header = jwt.get_unverified_header(token)
            issuer = await self._find_issuer(header.get("kid"))
            key = issuer.keys.get(str(header.get("kid")))
            if key is None:
                return _no("it is not signed by this cluster")
            claims = jwt.decode(
                token,
                key=key,
                algorithms=[key.algorithm_name],
                audience=audience,
                issuer=issuer.name,
                leeway=LEEWAY,
                options={"require": _REQUIRED},
            )
        except jwt.InvalidAudienceError:
            return _no(f"it was not made for audience {audience!r}")
        except jwt.PyJWTError as error:
            return _no(str(error))
        return _read_claims(claims)

    async def review_right(self, identity: Identity, right: Right) -> RightVerdict:
        """See :meth:`~perdure_operator.cluster.reviews.Reviewer.review_right`."""
        if right.namespace != self._namespace:
            reason = f"this server is for namespace {self._namespace!r} alone"
            return RightVerdict(allowed=False, reason=reason)
        return await self._api.review_right_in(self._namespace, identity, right)

    async def _find_issuer(self, key_id: object) -> _Issuer:
        known, now = self._issuer, self._clock()
        if known is not None:
            age = now - known.read_at
            if age < (FRESH if str(key_id) in known.keys else PAUSE):
                return known
        try:
            discovered = await self._api.read(DISCOVERY)
            found = await self._api.read(KEYS)
        except NotFoundError as error:
            raise NotFoundError(
                error.request,
                f"{error.message}: this cluster does not publish the keys of its tokens (its "
                "service account issuer is no URL), so an install for one namespace cannot check "
                "them: install for the cluster, or with auth.mode=none behind a NetworkPolicy",
            ) from error
        self._issuer = _Issuer(name=discovered["issuer"], keys=_read_keys(found), read_at=now)
        return self._issuer


def _read_keys(found: Manifest) -> dict[str, jwt.PyJWK]:
    keys = {}
    for each in found.get("keys", ()):
        if each.get("alg") in ALGORITHMS and each.get("kid"):
            keys[each["kid"]] = jwt.PyJWK(each)
    return keys


def _read_claims(claims: Mapping[str, Any]) -> TokenVerdict:
    """Return whom a token speaks for, named and grouped as the API server does."""
    bound = claims.get("kubernetes.io") or {}
    namespace, account = bound.get("namespace"), bound.get("serviceaccount") or {}
    username = f"system:serviceaccount:{namespace}:{account.get('name')}"
    if not namespace or claims["sub"] != username:
        return _no("it is not a ServiceAccount's")
    groups = (
        "system:serviceaccounts",
        f"system:serviceaccounts:{namespace}",
        "system:authenticated",
    )
    return TokenVerdict(
        identity=Identity(username=username, uid=str(account.get("uid", "")), groups=groups)
    )


def _no(reason: str) -> TokenVerdict:
    return TokenVerdict(identity=None, reason=reason)
