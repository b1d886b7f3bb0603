"""The server's own certificate: what it is good for, and that nobody is locked out by a renewal."""

from __future__ import annotations

import socket
import ssl
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Thread

import pytest
from cryptography import x509

from perdure_operator.server.issuing import (
    AUTHORITY_LIFETIME,
    AUTHORITY_OVERLAP,
    LIFETIME,
    RENEWED_BEFORE,
    Material,
    MaterialError,
    renew,
)

NOW = datetime.now(UTC).replace(microsecond=0)
NAMES = ("perdure-server.perdure-system.svc", "localhost", "127.0.0.1")
STRICT = ssl.VERIFY_X509_STRICT


def made(at: datetime = NOW) -> Material:
    return renew(None, NAMES, at)


def chain(material: Material) -> list[x509.Certificate]:
    return x509.load_pem_x509_certificates(material.chain)


def connect(material: Material, trusted: bytes, name: str, folder: Path) -> None:
    """Serve with the material, and have somebody connect who trusts ``trusted`` alone."""
    (folder / "crt").write_bytes(material.chain)
    (folder / "key").write_bytes(material.key)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(folder / "crt", folder / "key")
    client = ssl.create_default_context(cadata=trusted.decode())
    client.verify_flags |= STRICT
    ours, theirs = socket.socketpair()

    def serve() -> None:
        with ours, suppress(OSError):
            server.wrap_socket(ours, server_side=True).close()

    thread = Thread(target=serve)
    thread.start()
    try:
        with theirs, client.wrap_socket(theirs, server_hostname=name):
            pass
    finally:
        thread.join()


@pytest.mark.parametrize("name", NAMES)
def test_who_trusts_the_authority_believes_the_server_by_each_of_its_names(
    name: str, tmp_path: Path
) -> None:
    material = made()
    connect(material, material.authorities, name, tmp_path)
    with pytest.raises(ssl.SSLCertVerificationError):
        connect(material, material.authorities, "perdure-server.elsewhere.svc", tmp_path)
    with pytest.raises(ssl.SSLCertVerificationError):
        connect(material, made().authorities, name, tmp_path)


def test_the_certificate_is_for_a_server_alone_and_signs_nothing() -> None:
    (certificate,) = chain(made())
    extensions = certificate.extensions
    assert extensions.get_extension_for_class(x509.BasicConstraints).value.ca is False
    (usage,) = extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert usage == x509.ExtendedKeyUsageOID.SERVER_AUTH
    assert certificate.not_valid_after_utc - NOW == LIFETIME


def test_what_is_good_stays_as_it_is() -> None:
    material = made()
    assert renew(material, NAMES, NOW) is material
    assert renew(material, tuple(reversed(NAMES)), NOW) is material
    assert renew(material, NAMES, NOW + LIFETIME - RENEWED_BEFORE) is material


@pytest.mark.parametrize(
    ("names", "later"),
    [
        pytest.param(NAMES, LIFETIME - RENEWED_BEFORE + timedelta(minutes=1), id="it-ends-soon"),
        pytest.param(NAMES, LIFETIME * 2, id="it-has-ended"),
        pytest.param((*NAMES, "perdure.example"), timedelta(), id="the-server-got-a-name"),
    ],
)
def test_a_certificate_that_is_due_is_made_anew_by_the_same_authority(
    names: tuple[str, ...], later: timedelta
) -> None:
    material = made()
    renewed = renew(material, names, NOW + later)

    assert renewed.authorities == material.authorities
    assert renewed.key != material.key
    (certificate,) = chain(renewed)
    assert certificate.not_valid_after_utc == NOW + later + LIFETIME
    (authority,) = x509.load_pem_x509_certificates(renewed.authorities)
    certificate.verify_directly_issued_by(authority)


def test_a_certificate_of_another_authority_is_replaced() -> None:
    material, other = made(), made()
    mixed = replace(material, chain=other.chain, key=other.key)
    assert renew(mixed, NAMES, NOW).authorities == material.authorities
    assert renew(mixed, NAMES, NOW).chain != mixed.chain


def test_a_new_authority_locks_out_nobody_who_trusts_only_the_one_before(tmp_path: Path) -> None:
    # So that today is when its end comes near.
    begun = NOW - (AUTHORITY_LIFETIME - AUTHORITY_OVERLAP) - timedelta(days=1)
    old = made(begun)

    new = renew(old, NAMES, NOW)

    assert len(x509.load_pem_x509_certificates(new.authorities)) == 2
    assert new.authorities.endswith(old.authorities)
    for trusted in (old.authorities, new.authorities, new.authorities[: -len(old.authorities)]):
        connect(new, trusted, NAMES[0], tmp_path)
    assert renew(new, NAMES, NOW) is new
    # The next renewal goes on as long as somebody may trust the old one alone.
    later = renew(new, NAMES, NOW + LIFETIME)
    assert later.authorities == new.authorities
    assert chain(later)[1:] == chain(new)[1:]


def test_an_authority_is_no_longer_trusted_when_it_has_ended() -> None:
    begun = NOW - AUTHORITY_LIFETIME - timedelta(days=1)
    new = renew(made(begun), NAMES, NOW)
    assert len(x509.load_pem_x509_certificates(new.authorities)) == 1
    assert len(chain(new)) == 1


@pytest.mark.parametrize("field", ["authorities", "authority_key", "chain", "key"])
def test_what_is_no_certificate_is_not_overwritten(field: str) -> None:
    broken = replace(made(), **{field: b"no PEM"})
    with pytest.raises(MaterialError, match="no certificate with its authority"):
        renew(broken, NAMES, NOW)
    other = replace(made(), authority_key=made().authority_key)
    with pytest.raises(MaterialError, match="key is another one's"):
        renew(other, NAMES, NOW)
