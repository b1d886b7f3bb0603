"""Speaking to the server of a cluster as the person that kubectl speaks for.

The server is found by its Service's labels, reached through :mod:`perdure.cli.tunnel`, and shown
a ticket (:mod:`perdure.protocol.tickets`) where it takes one.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from perdure.cli.errors import EXIT_UNREACHABLE, CommandError
from perdure.cli.kubectl import Kubectl, KubectlError
from perdure.cli.tunnel import Tunnel
from perdure.protocol.tickets import LIFETIME, new_ticket, ticket_manifest

LABELS = "app.kubernetes.io/part-of=perdure,app.kubernetes.io/component=control-plane"
SCHEME = "perdure.dev/scheme"
TICKETS = "perdure.dev/tickets"
USUAL_NAMESPACE = "perdure-system"

_RENEW_BEFORE = 300
"""Seconds before its end from which on a ticket is not used for a new command."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerService:
    """The Service in front of a server."""

    namespace: str
    name: str
    port: int
    is_secure: bool
    takes_ticket: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """How to speak to a cluster's server, while the tunnel is open."""

    address: str
    is_secure: bool
    ticket: str = ""
    namespace: str
    """The context's, for commands that were given none."""


@contextmanager
def open_way(kubectl: Kubectl, *, namespace: str = "", server_namespace: str = "") -> Iterator[Way]:
    """Open the way to the server, for the length of the block.

    Args:
        kubectl: for which cluster, and who asks.
        namespace: the one that the command is about; empty for the context's.
        server_namespace: where the server is; empty to look for it.

    Raises:
        CommandError: there is no server, or no way to it.
    """
    context = kubectl.read("config", "view", "--minify")
    namespace = namespace or _namespace_of(context)
    service = find_server(kubectl, namespace, server_namespace)
    ticket = _ticket(kubectl, context) if service.takes_ticket else ""
    with Tunnel(
        kubectl, service.namespace, service.name, service.port, is_secure=service.is_secure
    ) as tunnel:
        yield Way(
            address=tunnel.address, is_secure=service.is_secure, ticket=ticket, namespace=namespace
        )


def find_server(kubectl: Kubectl, namespace: str, server_namespace: str = "") -> ServerService:
    """Return the Service of the server that serves ``namespace``.

    Raises:
        CommandError: there is none, or it cannot be told which of several.
    """
    places = [("-n", server_namespace)] if server_namespace else _places(namespace)
    refused = ""
    for place in places:
        try:
            found = [_service(each) for each in _services(kubectl, place)]
        except KubectlError as error:
            refused = error.words
            continue
        if found:
            return _the_one(found, namespace)
    told = f" ({refused})" if refused else ""
    raise CommandError(
        f"no Perdure server was found in the cluster{told}: give its namespace with "
        "--server-namespace, or its address with --address",
        EXIT_UNREACHABLE,
    )


def _places(namespace: str) -> list[tuple[str, ...]]:
    # Few may list the Services of all namespaces.
    return [("--all-namespaces",), ("-n", USUAL_NAMESPACE), ("-n", namespace)]


def _services(kubectl: Kubectl, place: tuple[str, ...]) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = kubectl.read("get", "services", *place, "-l", LABELS)["items"]
    return items


def _service(manifest: dict[str, Any]) -> ServerService:
    metadata = manifest["metadata"]
    notes = metadata.get("annotations", {})
    return ServerService(
        namespace=metadata["namespace"],
        name=metadata["name"],
        port=manifest["spec"]["ports"][0]["port"],
        is_secure=notes.get(SCHEME) == "https",
        takes_ticket=notes.get(TICKETS) == "true",
    )


def _the_one(found: list[ServerService], namespace: str) -> ServerService:
    """Choose: a server in the namespace itself serves it before one for the whole cluster."""
    near = [each for each in found if each.namespace == namespace]
    candidates = near or found
    if len(candidates) > 1:
        names = ", ".join(f"{each.namespace}/{each.name}" for each in candidates)
        raise CommandError(f"several Perdure servers were found: {names}. Say --server-namespace")
    return candidates[0]


def _namespace_of(context: dict[str, Any]) -> str:
    contexts = context.get("contexts") or [{}]
    return str(contexts[0].get("context", {}).get("namespace") or "default")


# --- tickets -----------------------------------------------------------------------------------


def _ticket(kubectl: Kubectl, context: dict[str, Any]) -> str:
    """Return the ticket of a command before, or a new one."""
    place = _place_of_ticket(context)
    try:
        if time.time() - place.stat().st_mtime < LIFETIME - _RENEW_BEFORE:
            return place.read_text().strip()
    except OSError:
        pass  # There is none yet.
    ticket = new_ticket()
    try:
        kubectl.run("create", "-f", "-", stdin=json.dumps(ticket_manifest(ticket)))
    except KubectlError as error:
        raise CommandError(
            f"the server wants to know who you are, and the cluster let no ticket be made "
            f"({error.words}): the chart's auth.tickets grants it, or bring a token with "
            "--token-file",
            error.code,
        ) from error
    _keep(place, ticket)
    return ticket


def forget_tickets() -> None:
    """Throw all kept tickets away: one was not accepted."""
    for place in _folder().glob("*"):
        place.unlink(missing_ok=True)


def _keep(place: Path, ticket: str) -> None:
    try:
        place.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        made = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(made, "w") as file:
            file.write(ticket)
    except OSError:
        return  # The next command makes another one.


def _folder() -> Path:
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache, "perdure", "tickets")


def _place_of_ticket(context: dict[str, Any]) -> Path:
    """Return where the ticket for this cluster and this user is kept."""
    text = json.dumps(context, sort_keys=True)
    return _folder() / hashlib.sha256(text.encode()).hexdigest()[:32]
