"""Automatic HTTPS: the certificate, grades of TLS and headers, and a user's work over it."""

from __future__ import annotations

import http.client
import json
import re
import socket
import ssl
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from urllib.parse import urlsplit

import pytest
from e2e.browser import appears, browser, go, run_a_notebook_in_jupyterlab, run_a_notebook_in_marimo
from vps import inspect
from ways_in import NAME, URL, Place


def test_caddy_obtains_a_certificate(place: Place) -> None:
    person = place.person("ann")
    # The session trusts only the test CAs.
    assert person.request("GET", "/hub/login").ok
    run = place.deploy().succeeded()
    assert f"Address {URL}" in run.said
    assert "renewed automatically" in run.said
    assert run.changes == []


def test_http_redirects_to_https(place: Place) -> None:
    connection = http.client.HTTPConnection(place.address, 80, timeout=10)
    connection.request("GET", "/hub/login?next=%2Fhub%2Fhome", headers={"Host": NAME})
    answer = connection.getresponse()
    assert answer.status == 308
    assert answer.headers["Location"] == f"{URL}/hub/login?next=%2Fhub%2Fhome"


def test_only_the_ingress_listens(place: Place) -> None:
    assert {where.rpartition(":")[2] for where in place.listeners()} == {"80", "443"}


def test_caddy_is_limited(place: Place) -> None:
    limits = inspect(place.host, "jupyterhub-ingress")["HostConfig"]
    assert (limits["Memory"], limits["PidsLimit"]) == (768 * 1024**2, 256)


def test_user_works_in_a_browser(place: Place) -> None:
    """From http through GitHub to cells in JupyterLab and marimo, which need websockets."""
    place.github.add_user("grace")
    place.github.set_member("acme", "grace")
    github = urlsplit(place.settings["hub_github_url"]).hostname or ""
    with browser(github, names={NAME: place.address}) as context:
        page = context.new_page()
        go(page, f"http://{NAME}/")
        appears(page, page.get_by_role("button", name="Sign in with GitHub"))
        assert page.url.startswith(f"{URL}/")
        page.get_by_role("button", name="Sign in with GitHub").click()
        appears(page, page.get_by_label("Username or email address"))
        page.get_by_label("Username or email address").fill("grace")
        page.get_by_role("button", name="Sign in").click()
        authorize = page.get_by_role("button", name=re.compile("^Authorize"))
        appears(page, authorize)
        authorize.click()
        # With a single environment there is nothing to choose.
        appears(page, page.locator(".jp-Launcher"))
        assert page.url.startswith(f"{URL}/user/grace/")
        run_a_notebook_in_jupyterlab(page, "print(6 * 7, 'by https')", "42 by https")
        go(page, f"{URL}/user/grace/marimo/")
        appears(page, page.get_by_text("Create a new notebook"))
        run_a_notebook_in_marimo(page, context, "f'{6 * 7} by https'", "42 by https")
        cookies = [cookie for cookie in context.cookies() if cookie["domain"] == NAME]
        assert len(cookies) > 2
        assert [cookie["name"] for cookie in cookies if not cookie["secure"]] == []


def test_hub_logs_the_client_s_true_address(place: Place) -> None:
    person = place.person("ann")
    forged = {"X-Forwarded-For": "203.0.113.9", "X-Real-IP": "203.0.113.9", "Forwarded": "for=203.0.113.9;proto=http"}
    person.request("GET", "/hub/home?marked", headers=forged).raise_for_status()
    line = place.line_of_the_hub("/hub/home?marked")
    gateway = place.host.check_output("ip route get 1.1.1.1 | grep -o 'via [0-9.]*'").split()[1]
    assert f"ann@{gateway}" in line


@pytest.fixture(scope="module")
def standing_still(place: Place) -> Iterator[Future[list[bytes]]]:
    """An upload and two connections without a complete request, which pause for longer than proxies usually wait.

    Other tests run meanwhile.  The result is what could be read from the two idle connections.
    """
    person = place.working("bea")
    server = person.server()

    def slowly() -> Iterator[bytes]:
        text = json.dumps({"type": "file", "format": "text", "content": "x" * 1000}).encode()
        yield text[:500]
        time.sleep(70)
        yield text[500:]

    def stand_still() -> list[bytes]:
        with (
            socket.create_connection((place.address, 80)) as silent,
            socket.create_connection((place.address, 80)) as head,
        ):
            head.sendall(b"GET / HTTP/1.1\r\nHost: hub\r\n")
            answer = person.request("PUT", f"{server.path}api/contents/slow.txt", data=slowly(), timeout=120)
            assert answer.status_code == 201, answer.text
            for each in (silent, head):
                each.settimeout(1)
            return [silent.recv(1), head.recv(1)]

    with ThreadPoolExecutor() as pool:
        yield pool.submit(stand_still)
    server.stop()


@pytest.mark.usefixtures("standing_still")
def test_upload_of_300_mb_arrives(place: Place) -> None:
    person = place.working("ann")
    server = person.server()
    # In parts, as JupyterLab does: a server takes no body that its memory could not hold.
    size, numbers = 100 * 10**6, (1, 2, -1)
    for number in numbers:
        body = {"type": "file", "format": "base64", "content": "AAAA" * (size // 4), "chunk": number}
        answer = person.request("PUT", f"{server.path}api/contents/large.bin", data=json.dumps(body), timeout=300)
        assert answer.status_code in (200, 201), answer.text
    written = str(len(numbers) * size // 4 * 3)
    assert server.run("import os; os.path.getsize('large.bin')").result == written
    server.stop()


# --- grades


def test_tls_has_a_good_grade(place: Place) -> None:
    """With testssl.sh from Debian: protocols, ciphers, and known vulnerabilities."""
    place.host.run("rm -f /tmp/tls.json")
    place.host.run(
        "timeout 300 testssl --quiet --color 0 --protocols --server-defaults --heartbleed --ccs-injection --robot"
        " --renegotiation --beast --warnings off --jsonfile /tmp/tls.json %s",
        f"{NAME}:443",
    )
    found = {entry["id"]: entry for entry in json.loads(place.host.check_output("cat /tmp/tls.json"))}
    offered = {name: found[name]["finding"] for name in ("SSLv2", "SSLv3", "TLS1", "TLS1_1", "TLS1_2", "TLS1_3")}
    assert {name for name, finding in offered.items() if finding.startswith("offered")} == {"TLS1_2", "TLS1_3"}, offered
    # The test CA is not publicly trusted, and has no revocation service.
    ours = ("cert_chain_of_trust", "cert_trust", "cert_revocation", "cert_crlDistributionPoints", "cert_ocspURL")
    bad = [
        entry
        for name, entry in found.items()
        if entry["severity"] in ("MEDIUM", "HIGH", "CRITICAL") and not name.startswith(ours)
    ]
    assert bad == []
    assert len(found) > 20


def test_http_2_and_3_are_offered(place: Place) -> None:
    context = ssl.create_default_context(cafile=str(place.trusted()))
    context.set_alpn_protocols(["h2", "http/1.1"])
    with (
        socket.create_connection((place.address, 443), timeout=10) as connection,
        context.wrap_socket(connection, server_hostname=NAME) as tls,
    ):
        assert tls.selected_alpn_protocol() == "h2"
    assert "h3=" in place.person("ann").request("GET", "/hub/login").headers["Alt-Svc"]
    assert any(where.endswith(":443") for where in place.host.check_output("ss -lun").split())


def test_headers_have_a_good_grade(place: Place) -> None:
    """On the Hub's pages, JupyterLab, marimo, and pages that do not exist."""
    person = place.working("ann")
    server = person.server()
    pages = ["/hub/login", "/hub/home", "/hub/static/css/style.min.css", "/hub/nothing", "/hub/api"]
    pages += [f"{server.path}lab", f"{server.path}marimo/", f"{server.path}nothing"]
    for path in pages:
        headers = person.request("GET", path).headers
        assert headers["Strict-Transport-Security"] == "max-age=31536000", path
        assert headers["X-Content-Type-Options"] == "nosniff", path
        assert "frame-ancestors '" in headers["Content-Security-Policy"], path
        assert "Referrer-Policy" in headers, path
        assert {"Server", "X-Powered-By", "X-JupyterHub-Version", "Via"} & set(headers) == set(), path
    server.stop()


def test_slow_upload_arrives_and_idle_connections_end(standing_still: Future[list[bytes]]) -> None:
    assert standing_still.result(timeout=180) == [b"", b""]


# A file copied by a build loses its capabilities; `docker commit` keeps them.
OTHER = """
set -e
libcap=$(ldconfig -p | grep -o '/.*/libcap.so.2$')
docker run --name test-made --user 0 --volume "$(command -v setcap):/setcap:ro" --volume "$libcap:$libcap:ro" \\
  --volume /usr/bin/busybox:/busybox:ro "$1" sh -ec \\
  'rm /usr/local/bin/healthcheck; cp /busybox /usr/bin/wget; /setcap cap_net_bind_service=+ep /usr/bin/caddy'
docker commit --change 'USER 0' test-made test/caddy:2
docker rm test-made
"""


def test_run_switches_to_another_caddy_image_and_back(place: Place) -> None:
    """The other image is like the official one: root, wget, and a binary with a file capability."""
    used = "docker inspect -f {{.Config.Image}} jupyterhub-ingress"
    own = place.host.check_output(used)
    place.host.check_output("sh -c %s sh %s", OTHER, own)
    # The kernel refuses to run the binary without that capability, so the image does have it.
    refused = place.host.run("docker run --rm --cap-drop ALL --user 64103 test/caddy:2 caddy version")
    assert "operation not permitted" in refused.stderr
    settings = place.site.variables()["ingress_caddy"]
    other = {**settings, "image": "test/caddy:2"}
    try:
        place.deploy(ingress_caddy=other).succeeded()
        assert place.host.check_output(used) == "test/caddy:2"
        assert place.person("ann").request("GET", "/hub/home").ok
        assert place.deploy(ingress_caddy=other).succeeded().changes == []
    finally:
        place.deploy().succeeded()
        place.host.check_output("docker image rm test/caddy:2")
    assert place.host.check_output(used) == own
