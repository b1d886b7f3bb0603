"""Addresses and TLS."""

import ssl

import pytest

from perdure.client import Connection, TLSConfig
from perdure.exceptions import UsageError


@pytest.mark.parametrize(
    ("address", "url"),
    [
        pytest.param("127.0.0.1:7233", "http://127.0.0.1:7233", id="host-and-port"),
        pytest.param("perdure", "http://perdure:7233", id="host"),
        pytest.param("[::1]:80", "http://[::1]:80", id="ipv6"),
        pytest.param("http://perdure", "http://perdure", id="url"),
        pytest.param("https://x.example/api/", "https://x.example/api", id="url-with-a-path"),
    ],
)
def test_an_address_may_be_short_or_a_url(address, url):
    assert Connection.to(address).base_url == url


@pytest.mark.parametrize(
    "address", ["", "host:port", "host:99999", ":7233", "ftp://host", "http://"]
)
def test_what_is_no_address_is_refused(address):
    with pytest.raises(UsageError, match="is no address of a server: write host:port"):
        Connection.to(address)


def test_the_address_for_people_has_no_scheme():
    assert Connection.to("perdure:1").address == "perdure:1"


@pytest.mark.parametrize(
    "connection",
    [
        pytest.param(Connection.to("a", tls=True), id="asked-for"),
        pytest.param(Connection.to("https://a"), id="by-the-url"),
        pytest.param(Connection.to("a", tls=TLSConfig(domain="b")), id="configured"),
        pytest.param(Connection.to("a", tls=ssl.create_default_context()), id="ready-made"),
    ],
)
def test_tls_checks_the_server(connection):
    assert connection.base_url.startswith("https://")
    assert connection.ssl_context.verify_mode is ssl.CERT_REQUIRED
    assert connection.ssl_context.check_hostname


def test_without_tls_there_is_no_context():
    assert Connection.to("a").ssl_context is None


def test_another_name_in_the_certificate_can_be_given():
    assert Connection.to("a", tls=TLSConfig(domain="b")).server_hostname == "b"


@pytest.mark.parametrize(
    ("config", "message"),
    [
        pytest.param(TLSConfig(client_cert=b"x"), "together", id="half-a-pair"),
        pytest.param(TLSConfig(server_root_ca_cert=b"x"), "not usable", id="no-pem"),
        pytest.param(
            TLSConfig(client_cert=b"x", client_private_key=b"y"), "not usable", id="no-pem-pair"
        ),
    ],
)
def test_certificates_that_are_no_use_are_refused(config, message):
    with pytest.raises(UsageError, match=message):
        config.context()
