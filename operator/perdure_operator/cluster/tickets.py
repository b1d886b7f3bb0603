"""Whom a ticket speaks for, read from the object that the API server wrote its creator on.

See :mod:`perdure.protocol.tickets` for what a ticket is.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from perdure.protocol.tickets import LIFETIME, PREFIX, SIGNER, object_name
from perdure_operator.cluster.port import Manifest
from perdure_operator.cluster.reviews import Identity, TokenVerdict


def is_ticket(token: str) -> bool:
    """Tell whether a bearer token is a ticket."""
    return token.startswith(PREFIX)


def ticket_path(ticket: str) -> str:
    """Return the address of a ticket's object."""
    return f"/apis/certificates.k8s.io/v1/certificatesigningrequests/{object_name(ticket)}"


def read_ticket(found: Manifest | None, now: datetime) -> TokenVerdict:
    """Return whom a ticket speaks for.

    Args:
        found: Its object; None if there is none.
        now: The time, aware of its zone.
    """
    if found is None:
        return _no("there is no such ticket any more")
    spec: Mapping[str, Any] = found.get("spec", {})
    if spec.get("signerName") != SIGNER:
        return _no("it is a request for something else")
    created = datetime.fromisoformat(found["metadata"]["creationTimestamp"])
    if now >= created + timedelta(seconds=LIFETIME):
        return _no("the ticket has expired")
    extra = spec.get("extra") or {}
    identity = Identity(
        username=spec.get("username", ""),
        uid=spec.get("uid", ""),
        groups=tuple(spec.get("groups") or ()),
        extra=tuple((name, tuple(values)) for name, values in sorted(extra.items())),
    )
    return TokenVerdict(identity=identity) if identity.username else _no("it names no user")


def _no(reason: str) -> TokenVerdict:
    return TokenVerdict(identity=None, reason=reason)
