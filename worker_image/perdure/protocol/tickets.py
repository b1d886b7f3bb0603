"""Tickets: how a person proves to the server who they are in the cluster.

A person's credentials are for the API server and nobody else, and may be of any kind:
certificate, OIDC token, a cloud's plugin. What the server can be shown instead is an object on
which the API server itself has written who created it. A CertificateSigningRequest is one: its
``spec.username``, ``uid``, ``groups`` and ``extra`` are the API server's words and never change.

So a client draws a secret and creates a CertificateSigningRequest whose *name* is made from the
secret's hash; nobody signs it, and nobody needs to. The secret, with a prefix, is the ticket: the
bearer token that the server is shown. Who holds it created the object, and the object says who
that is. The cluster deletes what was not signed after a day; a ticket is good for less.
"""

from __future__ import annotations

import hashlib
import secrets
from base64 import b64encode
from typing import Any

PREFIX = "perdure-ticket."
"""What every ticket begins with."""

SIGNER = "perdure.dev/ticket"
"""The signer that is asked; there is none of that name."""

LIFETIME = 3600
"""Seconds that a ticket is good for after its object was created."""

_NAME = "perdure-ticket-"

_REQUEST = """\
-----BEGIN CERTIFICATE REQUEST-----
MIHTMHsCAQAwGTEXMBUGA1UEAwwOcGVyZHVyZS10aWNrZXQwWTATBgcqhkjOPQIB
BggqhkjOPQMBBwNCAARnbz9eStDQppoK2omwepe8feWfl9vfoBW+S6pmnIna2KkY
32vCoZyy6jc3TE8dpvt3EeezGeqnmSmMI8SUqkXroAAwCgYIKoZIzj0EAwIDSAAw
RQIhAKHS2f1knZXEa1Wj7hhk36EMqIsDsiL9S+2Dvl+MqBxhAiBcgi2LUe9xiawI
NoNfOeYPPQltG6TDT2LnxywnVCLOPA==
-----END CERTIFICATE REQUEST-----
"""
"""A valid request, as the API wants one; its key was thrown away, and nothing depends on it."""


def new_ticket() -> str:
    """Return a ticket that nobody else has; it is good once its object is created."""
    return PREFIX + secrets.token_urlsafe(32)


def object_name(ticket: str) -> str:
    """Return the name of a ticket's object; it does not give the ticket away."""
    return _NAME + hashlib.sha256(ticket.encode()).hexdigest()[:40]


def ticket_manifest(ticket: str) -> dict[str, Any]:
    """Return the CertificateSigningRequest to create."""
    return {
        "apiVersion": "certificates.k8s.io/v1",
        "kind": "CertificateSigningRequest",
        "metadata": {
            "name": object_name(ticket),
            "labels": {"app.kubernetes.io/part-of": "perdure"},
        },
        "spec": {
            "request": b64encode(_REQUEST.encode()).decode(),
            "signerName": SIGNER,
            "expirationSeconds": LIFETIME,
            "usages": ["client auth"],
        },
    }
