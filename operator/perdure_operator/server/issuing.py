"""A certificate of the server's own, and the authority that signs it: what to make, and when.

Pure but for the keys that are drawn: material in, material out. The authority lives for ten years
and the certificate for ninety days, so a key that got out is good for that long at most. Both are
made anew long before their end, and so that nobody has to be restarted: a new authority is vouched
for by the one before (a *cross* certificate, sent along with the server's own), hence whoever
trusts only the old one goes on, and who reads the bundle now trusts both.

:mod:`.self_made` keeps the material in a Secret.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import cast

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

AUTHORITY_LIFETIME = timedelta(days=3650)
AUTHORITY_OVERLAP = timedelta(days=730)
"""So long before an authority's end the next one is made."""
LIFETIME = timedelta(days=90)
RENEWED_BEFORE = timedelta(days=30)
"""So long before a certificate's end the next one is made."""
BACKDATED = timedelta(hours=1)
"""Clocks differ: what is made now is good since then."""

_NAME_LENGTH = 64
"""The most that a common name may have; the names that count are among the alternatives."""


class MaterialError(Exception):
    """What was found is no certificate with its authority; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Material:
    """Certificates and keys, PEM."""

    authorities: bytes
    """Whom to trust: the authority, and those before it until their end."""
    authority_key: bytes
    """Of the first of them."""
    chain: bytes
    """The server's certificate, and what vouches for a new authority."""
    key: bytes
    """The server's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Authority:
    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey


def renew(found: Material | None, names: Sequence[str], now: datetime) -> Material:
    """Return the material to have now: ``found`` itself where nothing is due.

    Args:
        found: What there is; None makes all of it.
        names: The server's, for which the certificate is: DNS names and IP addresses.
        now: The time, aware of its zone.

    Raises:
        MaterialError: ``found`` cannot be read.
    """
    if found is None:
        authority = _new_authority(now)
        return _issue(authority, [authority.certificate], [], names, now)
    try:
        return _renew(found, names, now)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise MaterialError(f"it is no certificate with its authority: {error}") from error


def _renew(found: Material, names: Sequence[str], now: datetime) -> Material:
    bundle = x509.load_pem_x509_certificates(found.authorities)
    key = serialization.load_pem_private_key(found.authority_key, password=None)
    chain = x509.load_pem_x509_certificates(found.chain)
    serialization.load_pem_private_key(found.key, password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise TypeError("the authority's key is not an elliptic one")
    authority = _Authority(certificate=bundle[0], key=key)
    if key.public_key() != authority.certificate.public_key():
        raise ValueError("the authority's key is another one's")

    if authority.certificate.not_valid_after_utc - now < AUTHORITY_OVERLAP:
        new = _new_authority(now)
        kept = [each for each in bundle if each.not_valid_after_utc > now]
        cross = [_cross(new, authority)] if kept else []
        return _issue(new, [new.certificate, *kept], cross, names, now)
    if _is_due(chain[0], authority.certificate, names, now):
        cross = [each for each in chain[1:] if each.not_valid_after_utc > now]
        kept = [each for each in bundle if each.not_valid_after_utc > now]
        return _issue(authority, kept, cross, names, now)
    return found


def _is_due(
    certificate: x509.Certificate,
    authority: x509.Certificate,
    names: Sequence[str],
    now: datetime,
) -> bool:
    try:
        certificate.verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature):
        return True
    found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return certificate.not_valid_after_utc - now < RENEWED_BEFORE or set(found) != set(
        _alternatives(names)
    )


def _issue(
    authority: _Authority,
    bundle: Sequence[x509.Certificate],
    cross: Sequence[x509.Certificate],
    names: Sequence[str],
    now: datetime,
) -> Material:
    key = ec.generate_private_key(ec.SECP256R1())
    end = min(now + LIFETIME, authority.certificate.not_valid_after_utc)
    certificate = (
        _builder(names[0], key.public_key(), authority, now, end)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(digital_signature=True), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(_alternatives(names), critical=False)
        .sign(authority.key, hashes.SHA256())
    )
    return Material(
        authorities=_pem(bundle),
        authority_key=_key_pem(authority.key),
        chain=_pem([certificate, *cross]),
        key=_key_pem(key),
    )


def _new_authority(now: datetime) -> _Authority:
    key = ec.generate_private_key(ec.SECP256R1())
    # The date tells authorities apart: a chain is built by names.
    name = f"Perdure, made {now:%Y-%m-%d %H:%M:%S}"
    certificate = _authority_certificate(name, key, None, now, now + AUTHORITY_LIFETIME)
    return _Authority(certificate=certificate, key=key)


def _cross(new: _Authority, old: _Authority) -> x509.Certificate:
    """Return the new authority's name and key, vouched for by the old one until its end."""
    name = cast("str", new.certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value)
    begin = new.certificate.not_valid_before_utc + BACKDATED
    end = old.certificate.not_valid_after_utc
    return _authority_certificate(name, new.key, old, begin, end)


def _authority_certificate(
    name: str,
    key: ec.EllipticCurvePrivateKey,
    issuer: _Authority | None,
    now: datetime,
    end: datetime,
) -> x509.Certificate:
    """Return a certificate for an authority: signed by itself without an ``issuer``."""
    return (
        _builder(name, key.public_key(), issuer, now, end)
        .add_extension(
            x509.BasicConstraints(ca=True, path_length=0 if issuer else 1), critical=True
        )
        .add_extension(_key_usage(key_cert_sign=True, crl_sign=True), critical=True)
        .sign(issuer.key if issuer else key, hashes.SHA256())
    )


def _builder(
    name: str,
    key: ec.EllipticCurvePublicKey,
    issuer: _Authority | None,
    now: datetime,
    end: datetime,
) -> x509.CertificateBuilder:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name[:_NAME_LENGTH])])
    issuing_key = issuer.key.public_key() if issuer else key
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.certificate.subject if issuer else subject)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATED)
        .not_valid_after(end)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(issuing_key), critical=False
        )
    )


def _key_usage(
    *, digital_signature: bool = False, key_cert_sign: bool = False, crl_sign: bool = False
) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=key_cert_sign,
        crl_sign=crl_sign,
        encipher_only=False,
        decipher_only=False,
    )


def _alternatives(names: Sequence[str]) -> x509.SubjectAlternativeName:
    return x509.SubjectAlternativeName([_general_name(name) for name in names])


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _pem(certificates: Sequence[x509.Certificate]) -> bytes:
    return b"".join(each.public_bytes(serialization.Encoding.PEM) for each in certificates)


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
