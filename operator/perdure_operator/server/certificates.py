"""The server's certificate, taken anew whenever its files change.

Certificates live for weeks and servers for months, so the files are looked at every few seconds.
A pair that cannot be used (half of it is written, say) is reported, and the one before stays.
Each handshake gets the newest context whole: to load a second pair into a context in use could
leave the first one's key in it, when the two are of different types.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from pathlib import Path

log = logging.getLogger(__name__)

LOOK_INTERVAL = 10.0
"""Seconds between two looks at the files."""

_Signature = tuple[tuple[int, int, int], ...]


class CertificateError(Exception):
    """The certificate or its key cannot be used; the message says which and why."""


class Certificates:
    """A certificate and its key, in PEM.

    Args:
        certificate: The certificate, followed by those that lead to its authority.
        key: Its private key, without a passphrase.

    Raises:
        CertificateError: they cannot be used.
    """

    def __init__(self, certificate: Path, key: Path) -> None:
        self._files = (certificate, key)
        self._seen = self._signature()
        self._newest = self._load()
        self.context = self._load()
        """What the listening socket is given; it hands each connection to the newest."""
        self.context.sni_callback = self._use_newest

    def reload_if_changed(self) -> bool:
        """Take the files anew if they are others than before; tell whether that was done."""
        signature = self._signature()
        if signature == self._seen:
            return False
        self._seen = signature
        try:
            self._newest = self._load()
        except CertificateError as error:
            log.error("%s: the certificate of before stays in use", error)
            return False
        log.info("took the new certificate in %s", self._files[0])
        return True

    async def watch(self) -> None:
        """Look at the files for ever."""
        while True:
            await asyncio.sleep(LOOK_INTERVAL)
            self.reload_if_changed()

    def _use_newest(
        self, connection: ssl.SSLObject | ssl.SSLSocket, _name: str | None, _of: ssl.SSLContext
    ) -> None:
        connection.context = self._newest

    def _load(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        certificate, key = self._files
        try:
            # An empty password instead of a question on the terminal.
            context.load_cert_chain(certificate, key, password="")
        except (OSError, ValueError) as error:
            raise CertificateError(
                f"the certificate {certificate} with the key {key} cannot be used: {error}"
            ) from error
        return context

    def _signature(self) -> _Signature:
        try:
            stats = [path.stat() for path in self._files]
        except OSError:
            return ()
        return tuple((each.st_mtime_ns, each.st_size, each.st_ino) for each in stats)
