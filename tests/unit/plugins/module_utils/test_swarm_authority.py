"""Certificates of a swarm's members: who is taken for a member, and until when."""

from __future__ import annotations

import datetime

import pytest
from ansible_collections.flagos.kunlunxin.plugins.module_utils import _swarm_authority as authorities
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

NOW = datetime.datetime(2027, 1, 15, 12, tzinfo=datetime.UTC)
DAY = datetime.timedelta(days=1)


@pytest.fixture(scope="module")
def issuer():
    return authorities.authority(NOW)


@pytest.fixture(scope="module")
def member(issuer):
    return authorities.member(issuer, "node1", NOW)


def read(pair):
    return x509.load_pem_x509_certificate(pair.certificate.encode())


def test_a_member_is_one_of_its_own_authority_alone(issuer, member):
    assert authorities.holds(issuer, NOW)
    assert authorities.holds(member, NOW, issuer)
    assert not authorities.holds(member, NOW, authorities.authority(NOW))
    assert not authorities.holds(member, NOW)


def test_a_certificate_serves_both_ends_of_a_connection_and_every_torrent_and_signs_nothing(issuer, member):
    found = read(member).extensions
    usages = found.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH} == set(usages)
    assert found.get_extension_for_class(x509.SubjectAlternativeName).value.get_values_for_type(x509.DNSName) == ["*"]
    assert not found.get_extension_for_class(x509.BasicConstraints).value.ca
    assert read(issuer).extensions.get_extension_for_class(x509.BasicConstraints).value.path_length == 0


def test_what_has_less_than_thirty_days_left_holds_no_longer(issuer, member):
    assert authorities.holds(member, NOW + 335 * DAY, issuer)
    assert not authorities.holds(member, NOW + 336 * DAY, issuer)
    assert not authorities.holds(issuer, NOW + 701 * DAY)


def test_a_member_never_outlives_its_authority(issuer):
    late = authorities.member(issuer, "node1", NOW + 690 * DAY)
    assert read(late).not_valid_after_utc == read(issuer).not_valid_after_utc


def test_a_host_whose_clock_is_some_hours_behind_takes_it_for_valid(member):
    assert read(member).not_valid_before_utc == NOW - DAY


@pytest.mark.parametrize(
    "spoil", [lambda text: "", lambda text: text[: len(text) // 2], lambda text: "größe"], ids=["empty", "cut", "other"]
)
@pytest.mark.parametrize("part", ["certificate", "key"])
def test_what_cannot_be_read_does_not_hold(issuer, member, part, spoil):
    spoilt = member._replace(**{part: spoil(getattr(member, part))})
    assert not authorities.holds(spoilt, NOW, issuer)


def test_a_certificate_with_the_key_of_another_does_not_hold(issuer, member):
    other = authorities.member(issuer, "node2", NOW)
    assert not authorities.holds(authorities.Pair(member.certificate, other.key), NOW, issuer)


def test_a_name_may_be_as_long_as_a_host_name(issuer):
    assert authorities.holds(authorities.member(issuer, "n" * 200, NOW), NOW, issuer)
