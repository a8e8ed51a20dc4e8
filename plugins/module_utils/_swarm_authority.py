# SPDX-License-Identifier: MIT OR GPL-3.0-or-later
"""Certificates by which the members of a swarm know each other: an authority of the cluster's own, and a certificate of it for each member.

A torrent carries its authority's certificate; libtorrent then speaks TLS alone for it, and only to who shows a certificate of that
authority whose alternative name is the torrent's name or ``*`` (https://www.libtorrent.org/manual-ref.html, SSL torrents). Ours says
``*``: a member's certificate is the same for every revision of the weights.
"""

from __future__ import annotations

import collections
import datetime

try:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
except ImportError:  # the module says so
    x509 = None

EVERY_TORRENT = "*"
AUTHORITY_DAYS, MEMBER_DAYS = 730, 365
# What has less left is made anew: a lane must not outlive its certificate, and nobody renews one on a cluster that is not touched.
LEFT_DAYS = 30
# A host whose clock is behind takes what was just made for not yet valid.
BEHIND_DAYS = 1

Pair = collections.namedtuple("Pair", ["certificate", "key"])
Pair.__doc__ = "A certificate and its private key, each as PEM in text."


def available():
    """Whether this interpreter has the library ``cryptography``."""
    return x509 is not None


def authority(now):
    """A new authority, which signs nothing but certificates of members.

    :param now: a ``datetime`` in UTC, with its zone.
    :returns: a :class:`Pair`.
    """
    key, name = _new_key(), _name("flagos-kunlunxin swarm")
    builder = _builder(name, name, key.public_key(), now, now + datetime.timedelta(days=AUTHORITY_DAYS))
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    builder = builder.add_extension(_usage(key_cert_sign=True), critical=True)
    builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    return _signed(builder, key, key)


def member(issuer, name, now):
    """A new certificate of a member.

    :param issuer: the authority's :class:`Pair`.
    :param name: what the member is called, for people.
    :returns: a :class:`Pair`; it ends no later than the authority.
    """
    certificate, key = _certificate(issuer.certificate), _new_key()
    ends = min(now + datetime.timedelta(days=MEMBER_DAYS), _ends(certificate))
    builder = _builder(_name(name), certificate.subject, key.public_key(), now, ends)
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    builder = builder.add_extension(_usage(digital_signature=True), critical=True)
    issued_by = x509.AuthorityKeyIdentifier.from_issuer_public_key(certificate.public_key())  # authorities are all called the same
    builder = builder.add_extension(issued_by, critical=False)
    # Who dials is the client, and that is now one, now the other.
    both = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    builder = builder.add_extension(x509.ExtendedKeyUsage(both), critical=False)
    builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(EVERY_TORRENT)]), critical=False)
    return _signed(builder, key, _key(issuer.key))


def holds(pair, now, issuer=None):
    """Whether a pair is whole, fits together and has time left.

    :param pair: a :class:`Pair`, whatever its texts are.
    :param issuer: the authority's pair, whose signature a member's certificate must have; ``None`` for the authority itself.
    """
    try:
        certificate, key = _certificate(pair.certificate), _key(pair.key)
        signer = _certificate(issuer.certificate) if issuer else certificate
        signer.public_key().verify(certificate.signature, certificate.tbs_certificate_bytes, ec.ECDSA(certificate.signature_hash_algorithm))
    except Exception:  # cryptography's own are many: whatever cannot be read is made anew
        return False
    fits = certificate.public_key().public_numbers() == key.public_key().public_numbers()
    return fits and certificate.issuer == signer.subject and _ends(certificate) - now >= datetime.timedelta(days=LEFT_DAYS)


def _new_key():
    return ec.generate_private_key(ec.SECP256R1())


def _name(text):
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text[:64])])  # RFC 5280, ub-common-name


def _builder(subject, issuer, public_key, now, ends):
    builder = x509.CertificateBuilder(subject_name=subject, issuer_name=issuer, public_key=public_key)
    builder = builder.serial_number(x509.random_serial_number())
    return builder.not_valid_before(now - datetime.timedelta(days=BEHIND_DAYS)).not_valid_after(ends)


def _usage(**used):
    names = ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement")
    names += ("key_cert_sign", "crl_sign", "encipher_only", "decipher_only")
    return x509.KeyUsage(**{name: used.get(name, False) for name in names})


def _signed(builder, key, by):
    certificate = builder.sign(by, hashes.SHA256())
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return Pair(certificate.public_bytes(serialization.Encoding.PEM).decode("ascii"), private.decode("ascii"))


def _certificate(text):
    return x509.load_pem_x509_certificate(text.encode("ascii"))


def _key(text):
    return serialization.load_pem_private_key(text.encode("ascii"), password=None)


def _ends(certificate):
    """When it ends, with its zone; older releases of cryptography have no such attribute and tell UTC without one."""
    if hasattr(certificate, "not_valid_after_utc"):
        return certificate.not_valid_after_utc
    return certificate.not_valid_after.replace(tzinfo=datetime.timezone.utc)
