"""The Hub's requests to the outside through an HTTP proxy that asks for a password."""

from __future__ import annotations

import asyncio
import ipaddress
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from github import GitHub, running
from jupyterhub_ansible.web import outgoing
from oauthenticator.github import GitHubOAuthenticator
from project import PROJECT
from tornado.httpclient import AsyncHTTPClient, HTTPError
from tornado.simple_httpclient import SimpleAsyncHTTPClient

# 127.0.0.1 is never reached through a proxy.
OUTSIDE = "127.0.0.2"
PASSWORD = "c4n4ry/of:the@proxy"
QUOTED = "c4n4ry%2Fof:the%40proxy"


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in outgoing.NAMES:
        for each in (name, name.upper()):
            # So that it is removed again, too.
            monkeypatch.setenv(each, "")
            monkeypatch.delenv(each)
    yield
    AsyncHTTPClient.configure(None)


@pytest.fixture(scope="module")
def proxy() -> Iterator[str]:
    """The address of a proxy, as host:port."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    script = str(PROJECT / "molecule/images/files/http_proxy.py")
    command = [sys.executable, script, str(port), f"builder:{PASSWORD}"]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        for _ in range(100):
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                break
            except OSError:
                time.sleep(0.1)
        yield f"127.0.0.1:{port}"
        process.kill()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder, now = tmp_path_factory.mktemp("tls"), datetime.now(UTC)
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
    made = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    made = made.serial_number(1).not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
    names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(OUTSIDE))])
    signed = made.add_extension(names, critical=False).sign(key, hashes.SHA256())
    (folder / "cert.pem").write_bytes(signed.public_bytes(Encoding.PEM))
    (folder / "key.pem").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return folder / "cert.pem", folder / "key.pem"


@pytest.fixture(params=["http", "https"])
def outside(
    request: pytest.FixtureRequest, certificate: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> Iterator[str]:
    """The stand-in for GitHub, which can be reached directly as well."""
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))
    with running(GitHub(), OUTSIDE, https=certificate if request.param == "https" else None) as url:
        yield url


def use(folder: Path, address: str, no_proxy: str = "") -> None:
    given = {"http_proxy": address, "https_proxy": address, "no_proxy": no_proxy}
    (folder / outgoing.FILE).write_text(json.dumps(given))
    outgoing.use(folder)


def fetch(url: str, **options: Any) -> Any:
    async def fetched() -> Any:
        return await AsyncHTTPClient(force_instance=True).fetch(url, **options)

    return asyncio.run(fetched())


def test_requests_go_through_the_proxy(outside: str, proxy: str, tmp_path: Path) -> None:
    use(tmp_path, f"http://builder:{QUOTED}@{proxy}")
    answer = fetch(f"{outside}/api/v3/user", raise_error=False, headers={"Authorization": "token x"})
    assert (answer.code, json.loads(answer.body)["message"]) == (401, "Bad credentials")
    assert "application/json" in answer.headers["Content-Type"]
    if outside.startswith("https"):
        token = fetch(
            f"{outside}/login/oauth/access_token", method="POST", body="client_id=x&code=y", raise_error=False
        )
        assert (token.code, "error" in token.body.decode()) == (200, True)
    # As a login does.
    asked = GitHubOAuthenticator(github_url=outside, client_id="x", client_secret="y")
    with pytest.raises(HTTPError) as error:
        asyncio.run(asked.httpfetch(f"{outside}/api/v3/user", "asking", headers={"Authorization": "token x"}))
    assert error.value.code == 401


@pytest.mark.parametrize("login", ["", "builder:wr0ng-c4n4ry@"])
def test_proxy_that_wants_another_password_is_named_without_it(
    outside: str, proxy: str, tmp_path: Path, login: str
) -> None:
    use(tmp_path, f"http://{login}{proxy}")
    with pytest.raises(HTTPError, match=f"the HTTP proxy {proxy} asks for a user and a password") as error:
        fetch(outside)
    assert error.value.code == 599
    assert "images_https_proxy" in str(error.value)
    assert "c4n4ry" not in str(error.value)


def test_proxy_that_does_not_answer_is_named(tmp_path: Path) -> None:
    use(tmp_path, "http://builder:c4n4ry@127.0.0.1:1")
    with pytest.raises(HTTPError, match=r"by the HTTP proxy 127\.0\.0\.1:1: ClientProxyConnectionError") as error:
        fetch("https://github.example")
    assert "c4n4ry" not in str(error.value)


@pytest.mark.parametrize("no_proxy", [OUTSIDE, f".example.org, {OUTSIDE}", "*"])
def test_addresses_in_no_proxy_are_reached_directly(outside: str, tmp_path: Path, no_proxy: str) -> None:
    use(tmp_path, "http://127.0.0.1:1", no_proxy)
    assert fetch(f"{outside}/api/v3/user", raise_error=False).code == 401


@pytest.mark.parametrize("url", ["http://hub:8081/", "http://proxy-api:8001", "http://127.0.0.1:8081", "http://[::1]/"])
def test_internal_addresses_are_reached_directly(tmp_path: Path, url: str) -> None:
    use(tmp_path, "http://127.0.0.1:1")
    assert outgoing.proxy_of(url) == ""
    assert outgoing.proxy_of("http://example.org/") == "http://127.0.0.1:1"


@pytest.mark.parametrize(
    ("host", "bypassed"),
    [("10.1.2.3", True), ("10.1.2.3:8443", True), ("11.1.2.3", False), ("[fd00:1::7]:8443", True), ("ten.org", False)],
)
def test_networks_in_no_proxy_are_reached_directly(tmp_path: Path, host: str, bypassed: bool) -> None:
    """As pip understands them in builds."""
    use(tmp_path, "http://127.0.0.1:1", "example.org, 10.0.0.1/8,fd00:1::/32")
    assert (outgoing.proxy_of(f"https://{host}/api") == "") is bypassed


def test_without_a_proxy_nothing_changes(tmp_path: Path) -> None:
    outgoing.use(tmp_path)
    assert AsyncHTTPClient.configured_class() is SimpleAsyncHTTPClient
    assert "HTTPS_PROXY" not in os.environ
    use(tmp_path, "", no_proxy="example.org")
    assert AsyncHTTPClient.configured_class() is SimpleAsyncHTTPClient


@pytest.mark.parametrize("name", ["HTTPS_PROXY", "https_proxy"])
def test_a_compose_application_has_variables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "http://proxy.example.org:3128")
    outgoing.use(tmp_path)
    assert outgoing.proxy_of("https://github.com/") == "http://proxy.example.org:3128"
    assert outgoing.proxy_of("http://hub:8081/") == outgoing.proxy_of("http://github.com/") == ""
    # Other libraries read either.
    assert os.environ["https_proxy"] == os.environ["HTTPS_PROXY"]


def test_address_without_a_scheme_is_refused_without_its_value(tmp_path: Path) -> None:
    with pytest.raises(outgoing.ProxyError, match=r"https?_proxy: is not an http:// or https:// address") as error:
        use(tmp_path, "builder:c4n4ry@proxy:3128")
    assert "c4n4ry" not in str(error.value)
