"""Who comes in: nobody is asked on loopback, Kubernetes is asked in a cluster.

A gate first finds out who calls (``identify``), before anything of the request's body is read,
and then whether they have the rights that the request needs (``check``). It fails closed: when
the API server gives no verdict, and none is remembered, the answer is 503 and nothing is done.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Protocol

from perdure_operator.cluster import (
    ClusterError,
    Identity,
    Reviewer,
    Right,
    RightVerdict,
    TokenVerdict,
)
from perdure_operator.server.errors import VerbError
from perdure_operator.server.remembering import Keeping, Remembered
from perdure_operator.server.rights import explain, is_work_at_home

log = logging.getLogger(__name__)

AUDIENCE = "perdure"
"""Whom a token must be made for: one that was made for the API server is not taken."""

MAX_TOKEN_LENGTH = 16 * 1024
REVIEW_TIMEOUT = 5.0
"""Seconds for one review."""

ANYONE = Identity(username="anyone")


class Gate(Protocol):
    """Decides who may do what."""

    @property
    def asks(self) -> bool:
        """Whether it asks for rights at all."""
        ...

    async def identify(self, authorization: str | None) -> Identity:
        """Return who sends this ``Authorization`` header.

        Raises:
            VerbError: ``Unauthorized``, or ``Unavailable``.
        """
        ...

    async def check(self, identity: Identity, rights: Iterable[Right]) -> None:
        """Return when somebody has all of the rights.

        Raises:
            VerbError: ``Forbidden``, or ``Unavailable``.
        """
        ...


class OpenGate:
    """Lets everybody do everything."""

    asks = False

    async def identify(self, authorization: str | None) -> Identity:
        """Ask nothing."""
        del authorization
        return ANYONE

    async def check(self, identity: Identity, rights: Iterable[Right]) -> None:
        """Ask nothing."""


class KubernetesGate:
    """Asks the API server, and remembers what it said for some seconds.

    Args:
        reviewer: who is asked.
        audience: whom tokens must be made for.
        workers_at_home: whether every ServiceAccount may run workers in its own namespace, without
            being asked about.
        clock: what measures time, in seconds.
    """

    asks = True

    def __init__(
        self,
        reviewer: Reviewer,
        *,
        audience: str = AUDIENCE,
        workers_at_home: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._reviewer = reviewer
        self._audience = audience
        self._workers_at_home = workers_at_home
        # By hash: a dump of this memory must not give tokens away.
        self._tokens: Remembered[bytes, TokenVerdict] = Remembered(
            clock=clock,
            is_good=lambda verdict: verdict.identity is not None,
            keeping=Keeping(size=1024),
        )
        self._rights: Remembered[tuple[Identity, Right], RightVerdict] = Remembered(
            clock=clock, is_good=lambda verdict: verdict.allowed
        )

    async def identify(self, authorization: str | None) -> Identity:
        """See :meth:`Gate.identify`."""
        token = _bearer(authorization)
        if not token:
            raise VerbError("Unauthorized", f"no bearer token came with the request. {self._how()}")
        if len(token) > MAX_TOKEN_LENGTH:
            raise VerbError("Unauthorized", f"the bearer token is no token. {self._how()}")
        key = hashlib.sha256(token.encode()).digest()
        verdict = await self._tokens.get(key, lambda: self._review_token(token))
        if verdict.identity is None:
            why = f" ({verdict.reason})" if verdict.reason else ""
            raise VerbError("Unauthorized", f"the token is not accepted{why}. {self._how()}")
        return verdict.identity

    async def check(self, identity: Identity, rights: Iterable[Right]) -> None:
        """See :meth:`Gate.check`."""
        for right in rights:
            if not await self._has(identity, right):
                raise VerbError("Forbidden", explain(identity, right))

    async def _has(self, identity: Identity, right: Right) -> bool:
        if self._workers_at_home and is_work_at_home(identity, right):
            return True
        # Most who may touch one may touch all of a namespace: one verdict for ten thousand runs.
        if await self._allows(identity, replace(right, name="")):
            return True
        return bool(right.name) and await self._allows(identity, right)

    async def _allows(self, identity: Identity, right: Right) -> bool:
        verdict = await self._rights.get(
            (identity, right), lambda: self._review_right(identity, right)
        )
        return verdict.allowed

    async def _review_token(self, token: str) -> TokenVerdict:
        try:
            async with asyncio.timeout(REVIEW_TIMEOUT):
                return await self._reviewer.review_token(token, self._audience)
        except (ClusterError, TimeoutError) as error:
            raise _no_verdict("token", error) from error

    async def _review_right(self, identity: Identity, right: Right) -> RightVerdict:
        try:
            async with asyncio.timeout(REVIEW_TIMEOUT):
                return await self._reviewer.review_right(identity, right)
        except (ClusterError, TimeoutError) as error:
            raise _no_verdict("rights", error) from error

    def _how(self) -> str:
        return (
            f"It must be one of audience {self._audience!r} that has not expired: "
            f"`kubectl create token ACCOUNT --audience {self._audience}` makes one; give it with "
            "--token-file, PERDURE_TOKEN_FILE or Client.connect(api_key=...). `kubectl perdure` "
            "comes with who you are in the cluster"
        )


def _bearer(authorization: str | None) -> str:
    scheme, _, token = (authorization or "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def _no_verdict(what: str, error: Exception) -> VerbError:
    log.warning("a caller's %s could not be reviewed: %s", what, error or type(error).__name__)
    return VerbError(
        "Unavailable",
        f"the Kubernetes API gave no verdict on the caller's {what}, so nothing was done: try "
        "again; if it goes on, the server's log says why (it needs the roles of the chart's "
        "auth.yaml)",
    )
