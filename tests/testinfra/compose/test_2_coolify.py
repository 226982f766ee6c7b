"""The same under Coolify's rules: its Compose file, commands, redeployment and nightly clean-up, without Coolify.

`--pull` is left out, since it needs a registry.  A container stands in for Traefik: on the resource's own network, it
forwards to the proxy's container and the port of the label.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from compose_app import CLONE, FOLDER, URL, App, variables, write
from coolify import CLEAN_UP, Resource
from e2e.client import eventually
from e2e.marimo_client import Marimo
from testinfra.host import Host
from vps import assert_fence, image, inspect, started

UUID = "kc8gk4s0o4w0cwgs8k8w4s8g"
ARTIFACTS = f"/artifacts/{UUID}"
"""Where Coolify's helper container clones the repository to."""
WORKDIR = f"{ARTIFACTS}/compose"
TRAEFIK = "coolify-proxy"
FORWARD = """
import asyncio, sys
async def copy(reader, writer):
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except OSError:
        pass
    finally:
        writer.close()
async def forward(reader, writer):
    try:
        there = await asyncio.open_connection(sys.argv[1], int(sys.argv[2]))
    except OSError:
        writer.close()
        return
    await asyncio.gather(copy(reader, there[1]), copy(there[0], writer))
async def main():
    async with await asyncio.start_server(forward, "", 8000) as server:
        await server.serve_forever()
asyncio.run(main())
"""


class Coolify:
    """Deploys the resource as Coolify's deployment job does."""

    def __init__(self, host: Host, given: dict[str, str]) -> None:
        self.host = host
        raw = host.file(f"{FOLDER}/docker-compose.yml").content_string
        self.resource = Resource(UUID, raw, given, f"{URL.rpartition(':')[0]}:8000")
        self.command = f"docker compose --env-file .env --project-name {UUID} --project-directory . -f docker-compose.yml"
        self.deployments = 0

    def deploy(self) -> None:
        """Build, stop the running containers, and start the new ones."""
        self.deployments += 1
        commit, serial = f"{self.deployments:040x}", f"{100000 + self.deployments}"
        self.host.check_output(f"mkdir -p {ARTIFACTS} && cp -r {CLONE}/. {ARTIFACTS}/ && rm -f {WORKDIR}/.env")
        deployed = self.resource.deployment(commit, serial)
        dockerfile = self.resource.dockerfile(self.host.file(f"{FOLDER}/Dockerfile").content_string)
        write(self.host, f"{WORKDIR}/docker-compose.yml", yaml.safe_dump(deployed, sort_keys=False))
        write(self.host, f"{WORKDIR}/Dockerfile", dockerfile)
        write(self.host, f"{WORKDIR}/.env", self.resource.env_file())
        self.host.check_output(f"cd {WORKDIR} && {self.command} build --quiet 2>&1")
        self.host.check_output(
            "docker ps --all --quiet --filter label=coolify.applicationId=7 | xargs -r docker rm --force"
        )
        self.host.check_output(f"docker network inspect {UUID} || docker network create --attachable {UUID}")
        self.host.run(f"docker network connect {UUID} {TRAEFIK}")
        self.host.check_output(f"cd {WORKDIR} && {self.command} up --detach 2>&1")
        # Coolify's helper container, and the clone in it, are gone by now.
        self.host.check_output(f"rm -r {ARTIFACTS}/images {ARTIFACTS}/roles")


@pytest.fixture(scope="module")
def coolify(host: Host, stand_in: Any) -> Coolify:
    return Coolify(host, variables(stand_in.url))


@pytest.fixture(scope="module")
def app(host: Host, stand_in: Any, coolify: Coolify) -> Iterator[App]:
    host.check_output(f"docker network create --attachable {UUID}")
    host.check_output(
        "docker run --detach --name %s --network %s --publish 8000:8000 --entrypoint python %s -c %s proxy 8000",
        TRAEFIK, UUID, image(host), FORWARD,
    )  # fmt: skip
    coolify.deploy()
    app = App(host, stand_in.github, stand_in.url, stand_in.certificate, f"cd {WORKDIR} && {coolify.command}")
    app.wait_until_healthy()
    yield app
    host.run("docker ps --all --quiet | xargs -r docker rm --force")


def test_containers_and_volumes_have_coolify_s_names_and_images_ours_too(host: Host, app: App) -> None:
    names = host.check_output("docker ps --all --format '{{.Names}}'").split()
    assert {f"{name}-{UUID}-100001" for name in ("hub", "proxy", "env-base", "env-datascience")} <= set(names)
    for slug in ("base", "datascience"):
        ours = inspect(host, f"jupyterhub/env-{slug}:built", "image")
        assert ours["Id"] == inspect(host, f"{UUID}_env-{slug}:{1:040x}", "image")["Id"]
    volumes = host.check_output("docker volume ls --format '{{.Name}}'").split()
    assert {f"{UUID}_hub-state", f"{UUID}_proxy-secrets"} <= set(volumes)


def test_traefik_reaches_the_public_port_but_not_the_api(host: Host, app: App) -> None:
    networks = app.service("proxy")["NetworkSettings"]["Networks"]
    assert set(networks) == {UUID, "jupyterhub-control", "jupyterhub-users"}
    from_there = f"docker exec {TRAEFIK} python -c 'import socket; socket.create_connection((\"%s\", %d), 2)'"
    assert host.run(from_there % (networks[UUID]["IPAddress"], 8000)).rc == 0
    assert host.run(from_there % (networks[UUID]["IPAddress"], 8001)).rc != 0
    assert host.run(from_there % (networks["jupyterhub-control"]["IPAddress"], 8001)).rc != 0


def test_secrets_are_those_that_coolify_generates_once(coolify: Coolify, app: App) -> None:
    given = dict(line.split("=", 1) for line in app.service("hub")["Config"]["Env"])
    made = coolify.resource.variables
    assert given["JUPYTERHUB_COOKIE_SECRET"] == made["SERVICE_HEX_64_COOKIESECRET"]
    assert given["JUPYTERHUB_CRYPT_KEY"] == made["SERVICE_HEX_64_CRYPTKEY"]
    assert given["CONFIGPROXY_AUTH_TOKEN"] == made["SERVICE_HEX_64_CONFIGPROXYAUTHTOKEN"]


def test_user_logs_in_starts_runs_and_logs_out(host: Host, app: App) -> None:
    grace = app.member("Grace")
    grace.server().start_by_form("datascience")
    assert grace.server().run("import pandas; 6 * 7").result == "42"
    assert "42" in Marimo(grace.server()).run("answer.py", "6 * 7")[0]
    grace.server().stop()
    grace.request("GET", "/hub/logout")
    assert not grace.is_logged_in()


def test_user_works_in_a_browser(app: App) -> None:
    app.do_the_main_job("Irene", "compose-coolify")


def test_server_is_fenced(host: Host, app: App) -> None:
    app.member("Bob").server().start("base")
    assert_fence(host, "bob", app.service("hub")["Name"][1:], app.service("proxy")["Name"][1:])


def test_redeployment_leaves_servers_and_kernels_alone(host: Host, app: App, coolify: Coolify) -> None:
    bob = app.member("Bob")
    with bob.server().kernel() as kernel:
        kernel.execute("x = 41")
        before = started(host, "jupyterhub-user-bob")
        hub = app.service("hub")["Id"]
        coolify.deploy()
        app.wait_until_healthy()
        assert app.service("hub")["Id"] != hub
        eventually("the server", bob.answers)
        kernel.reconnect()
        assert kernel.execute("x + 1").result == "42"
    assert started(host, "jupyterhub-user-bob") == before
    assert bob.is_logged_in()
    assert_fence(host, "bob", app.service("hub")["Name"][1:], app.service("proxy")["Name"][1:])


def test_users_start_servers_after_the_nightly_clean_up(host: Host, app: App) -> None:
    bob = app.member("Bob")
    bob.server().write("kept.txt", "mine")
    bob.server().stop()
    for command in CLEAN_UP:
        assert host.run(command).rc == 0, command
    # Exited containers are gone, and so are unused images without the label.
    eventually("no exited container", lambda: not host.check_output("docker ps --all --quiet --filter status=exited"))
    assert host.run("docker image inspect debian:trixie-slim").rc != 0
    bob.server().start("datascience")
    assert bob.server().read("kept.txt") == "mine"
    # Even if the image has lost its name.
    bob.server().stop()
    host.check_output("docker rmi jupyterhub/env-base:built")
    bob.server().start("base")
    bob.server().stop()


def test_hub_restarts_after_the_clean_up(host: Host, app: App) -> None:
    hub = app.service("hub")["Name"][1:]
    host.check_output(f"docker restart {hub}")
    app.wait_until_healthy()
    # JupyterHub answers its health check before it logs this.
    log = f"docker logs --since {started(host, hub)} {hub} 2>&1"
    eventually("the Hub's log", lambda: "JupyterHub is now running" in host.check_output(log))
    assert json.loads(host.check_output("docker inspect jupyterhub-fence"))[0]["State"]["Running"]
