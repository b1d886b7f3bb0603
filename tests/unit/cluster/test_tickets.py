"""Whom a ticket speaks for, and what is not taken for one."""

from __future__ import annotations

from base64 import b64decode
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from perdure.protocol.tickets import LIFETIME, new_ticket, object_name, ticket_manifest
from perdure_operator.cluster import Identity
from perdure_operator.cluster.tickets import is_ticket, read_ticket, ticket_path

CREATED = datetime(2026, 11, 23, 8, tzinfo=UTC)


def stamped(**spec: Any) -> dict[str, Any]:
    """A ticket's object as the API server keeps it."""
    manifest = ticket_manifest(new_ticket())
    manifest["metadata"]["creationTimestamp"] = "2026-11-23T08:00:00Z"
    manifest["spec"] |= {"username": "ann", "groups": ["shop"], "uid": "7"} | spec
    return manifest


def test_a_ticket_speaks_for_whom_the_api_server_wrote_on_its_object() -> None:
    verdict = read_ticket(stamped(extra={"idp": ["x"]}), CREATED)
    assert verdict.identity == Identity(
        username="ann", uid="7", groups=("shop",), extra=(("idp", ("x",)),)
    )


@pytest.mark.parametrize(
    ("found", "after", "reason"),
    [
        pytest.param(None, 0, "no such ticket", id="deleted"),
        pytest.param(stamped(), LIFETIME, "expired", id="old"),
        pytest.param(stamped(signerName="example.com/tls"), 0, "something else", id="other-signer"),
        pytest.param(stamped(username=""), 0, "names no user", id="nobody"),
    ],
)
def test_what_is_no_good_ticket_speaks_for_nobody(found: Any, after: int, reason: str) -> None:
    verdict = read_ticket(found, CREATED + timedelta(seconds=after))
    assert verdict.identity is None
    assert reason in verdict.reason


def test_the_objects_name_does_not_give_the_ticket_away() -> None:
    ticket, other = new_ticket(), new_ticket()
    assert is_ticket(ticket)
    assert not is_ticket("eyJhbGciOi")
    assert ticket not in ticket_path(ticket)
    assert ticket.rpartition(".")[2] not in str(ticket_manifest(ticket))
    assert object_name(ticket) != object_name(other)
    assert ticket_path(ticket).endswith(ticket_manifest(ticket)["metadata"]["name"])
    request = b64decode(ticket_manifest(ticket)["spec"]["request"]).decode()
    assert request.startswith("-----BEGIN CERTIFICATE REQUEST-----\n")
