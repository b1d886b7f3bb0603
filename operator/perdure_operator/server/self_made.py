"""The server's own certificate, kept in a Secret and laid down in files.

For an install without cert-manager or a certificate of somebody's: the chart brings an empty
Secret, so that rendering it twice gives the same, and the server fills it at its first start. From
then on it looks now and then whether something is due (:mod:`.issuing`). What the listening socket
and the operator beside it use are files, taken anew when they change (:mod:`.certificates`).
"""

from __future__ import annotations

import asyncio
import logging
from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

from perdure_operator.cluster import (
    SECRETS,
    ClusterError,
    ConflictError,
    Manifest,
    ObjectKind,
    ObjectRef,
)
from perdure_operator.server.issuing import Material, MaterialError, renew

log = logging.getLogger(__name__)

LOOK_INTERVAL = 600.0
"""Seconds between two looks at the Secret."""
RETRY_INTERVAL = 2.0
"""Seconds between two attempts, as long as there is nothing to serve with."""
TRIES = 3
"""Of a write that others were faster with."""

_KEYS = {
    "ca.crt": "authorities",
    "ca.key": "authority_key",
    "tls.crt": "chain",
    "tls.key": "key",
}
"""Of the Secret, and what they hold."""


class Objects(Protocol):
    """What is asked of the Kubernetes API."""

    async def get(self, kind: ObjectKind, ref: ObjectRef) -> Manifest | None:
        """Return an object, or None."""

    async def apply(self, kind: ObjectKind, manifest: Manifest) -> Manifest:
        """Have an object's fields be as in the manifest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Files:
    """Where the certificate is laid down."""

    certificate: Path
    key: Path
    authority: Path


class MissingSecretError(Exception):
    """There is no Secret to keep the certificate in."""

    def __init__(self, ref: ObjectRef) -> None:
        super().__init__(
            f"there is no Secret {ref.name!r} in namespace {ref.namespace!r} to keep the "
            "certificate in: the chart brings it, so apply the chart again"
        )


class SelfMade:
    """Keeps a certificate of the server's own.

    Args:
        objects: Where the Secret is.
        secret: Its name; it is there, possibly empty.
        names: The server's, for which the certificate is.
        files: Where it is laid down.
        now: What time it is.
    """

    def __init__(
        self,
        objects: Objects,
        secret: ObjectRef,
        *,
        names: Sequence[str],
        files: Files,
        now: Callable[[], datetime],
    ) -> None:
        self._objects = objects
        self._secret = secret
        self._names = names
        self._files = files
        self._now = now
        self._held: Material | None = None

    async def prepare(self, stop: asyncio.Event) -> None:
        """Return when there are files to serve with, or when it is to stop.

        Those of before will do while the API server is away: a container that is started again
        in its pod finds them.
        """
        said = ""
        while not stop.is_set():
            try:
                await self.look()
            except (ClusterError, MaterialError, MissingSecretError) as error:
                if str(error) != said:
                    said = str(error)
                    log.error("%s: %s", self._what(), said)
            else:
                return
            if all(path.exists() for path in (self._files.certificate, self._files.key)):
                log.warning("the certificate of before is used")
                return
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), RETRY_INTERVAL)

    async def watch(self) -> None:
        """Look at the Secret for ever."""
        while True:
            await asyncio.sleep(LOOK_INTERVAL)
            try:
                await self.look()
            except (ClusterError, MaterialError, MissingSecretError) as error:
                log.error("%s: %s", self._what(), error)

    async def look(self) -> None:
        """Make what is due, keep it in the Secret, and have the files be like that.

        Raises:
            ClusterError: the Secret cannot be read or written.
            MissingSecretError: there is none.
            MaterialError: it holds something else.
        """
        for left in reversed(range(TRIES)):
            try:
                material = await self._settle()
            except ConflictError:
                if not left:
                    raise
            else:
                break
        self._held = material
        # The authority is read by others.
        _lay_down(self._files.authority, material.authorities, mode=0o644)
        _lay_down(self._files.key, material.key, mode=0o600)
        _lay_down(self._files.certificate, material.chain, mode=0o644)

    async def _settle(self) -> Material:
        body = await self._objects.get(SECRETS, self._secret)
        if body is None:
            raise MissingSecretError(self._secret)
        found = _read(body.get("data") or {})
        # Emptied by somebody: what is in use goes back into it.
        material = renew(found or self._held, self._names, self._now())
        if material != found:
            await self._objects.apply(SECRETS, self._manifest(body, material))
            log.info("%s: made anew what was due", self._what())
        return material

    def _manifest(self, body: Manifest, material: Material) -> Manifest:
        return {
            "apiVersion": SECRETS.api_version,
            "kind": SECRETS.kind,
            "metadata": {
                "name": self._secret.name,
                "namespace": self._secret.namespace,
                # Of two who do this at once the second finds what the first has made.
                "uid": body["metadata"]["uid"],
                "resourceVersion": body["metadata"]["resourceVersion"],
            },
            "data": {
                key: b64encode(getattr(material, field)).decode() for key, field in _KEYS.items()
            },
        }

    def _what(self) -> str:
        return f"the server's own certificate (Secret {self._secret})"


def _read(data: Mapping[str, str]) -> Material | None:
    """Return what a Secret holds; None when it holds nothing of it.

    Raises:
        MaterialError: it holds half of it.
    """
    missing = [key for key in _KEYS if not data.get(key)]
    if len(missing) == len(_KEYS):
        return None
    if missing:
        raise MaterialError(
            f"it has no {', '.join(missing)}: empty it, and a new authority and certificate are "
            "made; or give a certificate of yours with tls.existingSecret"
        )
    return Material(**{field: b64decode(data[key]) for key, field in _KEYS.items()})


def _lay_down(path: Path, content: bytes, *, mode: int) -> None:
    """Have a file with this content, at no time with half of it."""
    if path.exists() and path.read_bytes() == content:
        return
    partial = path.with_suffix(".partial")
    partial.unlink(missing_ok=True)
    partial.touch(mode=mode)
    partial.write_bytes(content)
    partial.replace(path)
