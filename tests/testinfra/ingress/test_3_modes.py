"""The other ways in, and switching between them while somebody works."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from e2e.client import Kernel
from e2e.people import CLIENT_ID, CLIENT_SECRET
from ways_in import NAME, URL, Place

# Of an SSH tunnel.
TUNNEL_PORT = 18236
PLAIN = f"http://127.0.0.1:{TUNNEL_PORT}"
EXAMPLES = Path(__file__).parents[3] / "examples/proxies"
NONE = {"ingress_mode": "none", "jupyterhub_url": PLAIN, "jupyterhub_address": "127.0.0.1"}
PROXY = {"ingress_mode": "proxy", "jupyterhub_address": "127.0.0.1"}
ADDRESS = '{{(index .NetworkSettings.Networks "jupyterhub-control").IPAddress}}'
# Runs on the machine: a request to the Hub's port, as a proxy or anybody else sends it.
ASK = """
import http.client, json, sys
connection = http.client.HTTPConnection(sys.argv[1], int(sys.argv[2]), timeout=20, source_address=(sys.argv[3], 0))
connection.request("GET", sys.argv[4], headers=json.loads(sys.argv[5]))
answer = connection.getresponse()
answer.read()
print(json.dumps([answer.status, answer.getheaders()]))
"""


def ask(
    place: Place, path: str, headers: dict[str, str], to: str = "127.0.0.1", source: str = "127.0.0.1", port: int = 8000
) -> tuple[int, list[tuple[str, str]]]:
    command = "python3 -c %s %s %s %s %s %s"
    status, found = json.loads(
        place.host.check_output(command, ASK, to, str(port), source, path, json.dumps({"Host": NAME, **headers}))
    )
    return status, [(name.lower(), value) for name, value in found]


def logged(place: Place, mark: str) -> str:
    """Return the client address that the Hub logged for a request."""
    [address] = re.findall(r"@([0-9a-f.:]+)\)", place.line_of_the_hub(mark))
    return str(address)


# --- switching the way in while somebody works


def test_servers_and_kernels_survive_a_switch_of_the_way_in(place: Place) -> None:
    """To none, caddy, proxy, and caddy again; nothing of the former way in keeps listening."""
    person = place.working("walker")
    kernel = person.server().kernel()
    kernel.execute("steps = ['caddy']")
    started = "docker inspect -f {{.State.StartedAt}} jupyterhub-user-walker"
    before = place.host.check_output(started)

    def step(name: str, url: str, listeners: set[str], **settings: Any) -> None:
        # A dry run predicts what the real one does.
        prediction = place.check(**settings).succeeded()
        run = place.deploy(**settings).succeeded()
        assert prediction.changes == run.changes, prediction.output
        assert {where.rpartition(":")[2] for where in place.listeners()} == listeners, name
        assert place.host.check_output(started) == before
        # GitHub redirects to the registered callback only.
        place.github.register_app(CLIENT_ID, CLIENT_SECRET, f"{url}/hub/oauth_callback")
        again = place.working("walker", url)
        same_kernel: Kernel = again.server().kernel(kernel.id)
        assert same_kernel.execute(f"steps.append({name!r}); len(steps)").result == str(len(steps) + 1)
        steps.append(name)
        same_kernel.socket.close()
        if settings:
            # Other tests cover Caddy.
            assert place.deploy(**settings).succeeded().changes == [], run.output

    steps = ["caddy"]
    with place.site.tunnel(TUNNEL_PORT):
        step("none", PLAIN, {"8000"}, **NONE)
    step("caddy", URL, {"80", "443"})
    # Caddy has to free the ports for nginx.
    place.deploy(**PROXY).succeeded()
    with nginx(place):
        step("proxy", URL, {"80", "443", "8000"}, **PROXY)
    step("caddy again", URL, {"80", "443"})
    person = place.working("walker")
    assert person.server().kernel(kernel.id).execute("steps[-1]").result == "'caddy again'"
    person.server().stop()


# --- behind a reverse proxy


def caddy_image(place: Place) -> str:
    """Return the id of the image with Debian's Caddy."""
    return str(place.host.check_output("docker images --format '{{.ID}}' jupyterhub/ingress").split()[0])


def certified(place: Place) -> None:
    """Create a test certificate where the examples expect it."""
    place.host.check_output(
        "openssl req -quiet -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -noenc -days 2 -subj /CN=proxy"
        " -addext subjectAltName=DNS:%s -CA /etc/pebble/ca.pem -CAkey /etc/pebble/ca.key"
        " -addext basicConstraints=critical,CA:false -keyout /etc/ssl/hub.key -out /etc/ssl/hub.pem",
        NAME,
    )


def example(name: str) -> str:
    """Return an example, with the host name of the tests."""
    return (EXAMPLES / name).read_text().replace("hub.example.org", NAME)


@contextmanager
def nginx(place: Place) -> Iterator[None]:
    """Run the machine's nginx with our example."""
    certified(place)
    place.host.check_output("rm -f /etc/nginx/sites-enabled/default /etc/nginx/conf.d/hub.conf")
    place.host.check_output("printf '%%s' %s >/etc/nginx/conf.d/hub.conf", example("nginx.conf"))
    place.host.check_output("nginx -t && systemctl start nginx")
    try:
        yield
    finally:
        place.host.check_output("systemctl stop nginx")


@contextmanager
def caddy(place: Place) -> Iterator[None]:
    """Run a Caddy that is not ours with our example, and with a given certificate instead of one from a CA."""
    certified(place)
    given = f"{NAME} {{\n\ttls /etc/ssl/hub.pem /etc/ssl/hub.key"
    text = example("Caddyfile").replace(f"{NAME} {{", given)
    place.host.check_output("mkdir -p /etc/caddy && printf '%%s' %s >/etc/caddy/Caddyfile", text)
    place.host.check_output(
        "docker run --detach --name test-caddy --network host --user 0 --volume /etc/ssl:/etc/ssl:ro"
        " --volume /etc/caddy:/etc/caddy:ro %s",
        caddy_image(place),
    )
    try:
        yield
    finally:
        place.host.check_output("docker rm --force test-caddy")


def test_only_a_trusted_proxy_s_headers_count(place: Place) -> None:
    """With proxies on other machines: one address is trusted, another one is not."""
    elsewhere = {
        "ingress_mode": "proxy",
        "jupyterhub_address": "0.0.0.0",
        "ingress_trusted_proxies": ["192.0.2.1"],
    }
    said = {"X-Forwarded-For": "198.51.100.7", "X-Forwarded-Proto": "https", "X-Real-Ip": "198.51.100.7"}
    said["Forwarded"] = "for=198.51.100.7;proto=https"
    place.deploy(**elsewhere).succeeded()
    address = place.host.check_output("docker inspect -f %s jupyterhub-proxy", ADDRESS)
    # Straight to the container, as if from another machine: the published port would hide the source address.
    for mark, source, believed in (("trusted", "192.0.2.1", True), ("untrusted", "192.0.2.2", False)):
        status, headers = ask(place, f"/hub/login?{mark}", said, to=address, source=source)
        assert status == 200
        assert logged(place, f"/hub/login?{mark}") == ("198.51.100.7" if believed else source)
        assert (("strict-transport-security", "max-age=31536000") in headers) is believed


# --- beside Coolify

LABEL = re.compile(
    r"traefik\.(enable|docker\.network"
    r"|http\.routers\.[\w-]+\.(rule|entrypoints|service|middlewares|tls|tls\.certresolver)"
    r"|http\.services\.[\w-]+\.loadbalancer\.server\.port"
    r"|http\.middlewares\.[\w-]+\.redirectscheme\.scheme)"
)


def test_coolify_s_proxy_finds_the_hub_by_labels(place: Place) -> None:
    """On Coolify's network, without a second web server."""
    run = place.deploy(ingress_mode="coolify")
    run.says("the machine's engine has no network coolify")
    place.host.check_output("docker network create coolify")
    # Another application on that network is also called "hub", and receives none of our requests.
    other = "docker run --detach --name test-hub --network coolify --network-alias hub %s"
    place.host.check_output(f"{other} caddy respond --listen :8081 --status 418", caddy_image(place))
    try:
        place.deploy(ingress_mode="coolify").succeeded()
        assert place.listeners() == set()
        [proxy] = json.loads(place.host.check_output("docker inspect jupyterhub-proxy"))
        labels = {name: value for name, value in proxy["Config"]["Labels"].items() if name.startswith("traefik.")}
        assert [name for name in labels if not LABEL.fullmatch(name)] == []
        assert labels["traefik.http.routers.jupyterhub.rule"] == f"Host(`{NAME}`)"
        routers = {name.split(".")[3] for name in labels if ".routers." in name}
        for router in routers:
            assert labels[f"traefik.http.routers.{router}.service"] == "jupyterhub"
        # A request from that network, as Coolify's Traefik sends it.
        address = proxy["NetworkSettings"]["Networks"]["coolify"]["IPAddress"]
        said = {"X-Forwarded-For": "198.51.100.8", "X-Forwarded-Proto": "https", "X-Real-Ip": "198.51.100.8"}
        gateway = place.host.check_output("docker network inspect -f '{{(index .IPAM.Config 0).Gateway}}' coolify")
        status, headers = ask(place, "/hub/login?coolify", said, to=address, source=gateway)
        assert status == 200
        assert logged(place, "/hub/login?coolify") == "198.51.100.8"
        assert ("strict-transport-security", "max-age=31536000") in headers
        assert place.deploy(ingress_mode="coolify").succeeded().changes == []
        place.deploy().succeeded()
        [proxy] = json.loads(place.host.check_output("docker inspect jupyterhub-proxy"))
        assert "coolify" not in proxy["NetworkSettings"]["Networks"]
        assert [name for name in proxy["Config"]["Labels"] if name.startswith("traefik.")] == []
    finally:
        place.host.run("docker rm --force test-hub; docker network disconnect --force coolify jupyterhub-proxy")
        place.host.run("docker network rm coolify")


# --- behind a proxy on the machine; these come last, since the proxy keeps the ports


@pytest.fixture(scope="module")
def proxied(place: Place) -> None:
    """Deploy for a proxy on the machine; it is not undone, since these tests are the last."""
    place.deploy(**PROXY).succeeded()


@pytest.fixture(scope="module", params=[nginx, caddy], ids=["nginx", "caddy"])
def behind(place: Place, proxied: None, request: pytest.FixtureRequest) -> Iterator[str]:
    """Run a proxy in front of the Hub, and yield its name."""
    with request.param(place):
        yield request.param.__name__


def test_hub_behind_a_proxy_uses_the_public_address(place: Place, behind: str) -> None:
    person = place.working("ann")
    answer = person.request("GET", "/hub/oauth_login", allow_redirects=False)
    # To GitHub and back.
    assert "redirect_uri=https%3A%2F%2Fhub.acme.test%2Fhub%2Foauth_callback" in answer.headers["Location"]
    assert {cookie.secure for cookie in person.session.cookies if cookie.domain == NAME} == {True}
    answer = person.request("GET", f"/hub/home?behind-{behind}")
    assert answer.headers["Strict-Transport-Security"] == "max-age=31536000"
    # The client's address, not the proxy's.
    gateway = place.host.check_output("ip route get 1.1.1.1 | grep -o 'via [0-9.]*'").split()[1]
    assert logged(place, f"behind-{behind}") == gateway
    # Websockets.
    assert person.server().run("print('through', 6 * 7)").stdout == "through 42\n"
    person.server().stop()


def test_traefik_s_headers_count(place: Place, behind: str) -> None:
    said = {
        "X-Forwarded-For": "198.51.100.7",
        "X-Forwarded-Host": NAME,
        "X-Forwarded-Port": "443",
        "X-Forwarded-Proto": "https",
        "X-Forwarded-Server": "traefik-7d9f",
        "X-Real-Ip": "198.51.100.7",
    }
    status, headers = ask(place, f"/hub/login?traefik-{behind}", said)
    assert status == 200
    assert logged(place, f"/hub/login?traefik-{behind}") == "198.51.100.7"
    cookies = [value for name, value in headers if name == "set-cookie"]
    assert cookies
    assert all("; Secure" in cookie for cookie in cookies)
    assert ("strict-transport-security", "max-age=31536000") in headers
