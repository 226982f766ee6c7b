"""`docker compose up` on a machine: log in, work, bring it down and up again."""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from secrets import token_hex
from typing import Any

import pytest
from compose_app import FOLDER, URL, App, env_file, variables, write
from e2e.client import Server, StartError, eventually
from e2e.marimo_client import Marimo
from e2e.people import Person
from e2e.sharing import ask, link, open_as_guest
from testinfra.host import Host
from vps import assert_fence, inspect, started

PROJECT = Path(__file__).parents[3]
SOCKET = "/var/run/docker.sock"
BUILT = "jupyterhub/env-base:built"
LAB = {"slug": "lab", "environment": "base", "users": ["Bob", "Paula"]}
NOTES = {"slug": "notes", "workspaces": ["lab"], "read_users": ["Olga"]}
HUB, PROXY, FENCE = "jupyterhub-hub-1", "jupyterhub-proxy-1", "jupyterhub-fence"


@pytest.fixture(scope="module")
def app(host: Host, stand_in: Any) -> Iterator[App]:
    app = App(host, stand_in.github, stand_in.url, stand_in.certificate)
    # This host's published port leads to all addresses of the machine.
    given = variables(stand_in.url, JUPYTERHUB_ADDRESS="0.0.0.0")
    ours = {"hub_workspaces": [LAB], "hub_shared_folders": [NOTES], "hub_sharing": "everybody"}
    settings = {**json.loads(given["JUPYTERHUB_SETTINGS"]), **ours}
    write(host, f"{FOLDER}/.env", env_file({**given, "JUPYTERHUB_SETTINGS": json.dumps(settings)}))
    app.compose("up", "--detach")
    app.wait_until_healthy()
    yield app
    host.run("docker ps --quiet --filter label=jupyterhub-ansible.kind=user-server | xargs -r docker rm --force")
    app.compose("down", "--volumes")


def test_compose_refuses_to_start_without_required_variables(host: Host) -> None:
    done = host.run(f"cd {FOLDER} && docker compose --env-file /dev/null config --quiet")
    assert done.rc
    # Compose names only one of the missing variables.
    missing = re.search(r"required variable (\w+) is missing a value", done.stderr)
    assert missing
    assert missing[1] in ("GITHUB_CLIENT_ID", "GITHUB_CLIENT_SECRET", "OAUTH_CALLBACK_URL")


@pytest.mark.parametrize("name", ["env-base", "env-datascience"])
def test_service_that_builds_an_environment_image_exits_with_0(app: App, name: str) -> None:
    eventually("its end", lambda: app.service(name)["State"]["Status"] == "exited")
    assert app.service(name)["State"]["ExitCode"] == 0


def assert_no_root(host: Host, group: int) -> None:
    """Prove that the Hub does not run as root and cannot become root; its one group is that of Docker's socket."""
    status = host.check_output(
        f"docker top {HUB} -o pid,args | awk '/-m jupyterhub_ansible.app/ && !/docker-init/ {{print $1}}' | head -1"
        " | xargs -I{} cat /proc/{}/status"
    )
    fields = dict(line.split(":\t", 1) for line in status.splitlines())
    assert fields["Uid"].split() == ["64101"] * 4
    assert fields["Groups"].split() == [str(group)]
    assert {int(fields[name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {0}
    assert fields["NoNewPrivs"] == "1"


def test_hub_is_not_root_and_cannot_become_root(host: Host, app: App) -> None:
    group = host.file(SOCKET).gid
    assert group
    assert_no_root(host, group)


def test_hub_gains_nothing_else_where_group_root_owns_the_socket(host: Host, app: App) -> None:
    group = host.file(SOCKET).gid
    host.check_output(f"chgrp root {SOCKET} && docker restart {HUB}")
    try:
        app.wait_until_healthy()
        assert_no_root(host, 0)
    finally:
        host.check_output(f"chgrp {group} {SOCKET} && docker restart {HUB}")
    app.wait_until_healthy()


def test_generated_secrets_are_in_files_only(host: Host, app: App) -> None:
    everything = json.dumps([inspect(host, HUB), inspect(host, PROXY)]) + app.compose("logs")
    for name in ("cookie_secret", "crypt_key", "proxy_token"):
        secret = host.check_output(f"docker exec {HUB} cat /srv/jupyterhub/secrets/{name}")
        assert len(secret) == 64
        assert secret not in everything


def test_only_the_recorder_writes_the_audit_trail(host: Host, app: App) -> None:
    recorder = app.service("audit")
    limits = recorder["HostConfig"]
    assert recorder["Config"]["User"] == "64104:64101"
    assert (limits["NetworkMode"], limits["ReadonlyRootfs"], limits["CapDrop"]) == ("none", True, ["ALL"])
    check = f"docker exec {recorder['Id']} python -m jupyterhub_ansible audit check"
    eventually("the first event", lambda: host.check_output(check).startswith("Lines 1 to "))
    as_hub = f"docker exec --user 64101:64101 {HUB} sh -c"
    assert '"event":"hub started"' in host.check_output(f"{as_hub} 'cat /srv/audit/*.jsonl'")
    assert "Read-only file system" in host.run(f"{as_hub} 'touch /srv/audit/x'").stderr


def test_proxy_api_listens_on_the_control_network_only(host: Host, app: App) -> None:
    sockets = host.check_output(f"docker exec {PROXY} cat /proc/net/tcp")
    listening = [line.split()[1] for line in sockets.splitlines() if line.split()[3] == "0A"]
    [api] = [address for address in listening if address.endswith(":1F41")]
    control = inspect(host, PROXY)["NetworkSettings"]["Networks"]["jupyterhub-control"]["IPAddress"]
    assert ".".join(str(byte) for byte in reversed(bytes.fromhex(api[:8]))) == control


def test_user_logs_in_chooses_starts_runs_and_logs_out(host: Host, app: App) -> None:
    grace = app.member("Grace")
    page = grace.server().spawn_page().text
    for shown in ('value="base"', 'value="datascience"', 'value="marimo"', "pandas"):
        assert shown in page
    grace.server().start_by_form("datascience")
    assert grace.server().run("import pandas; 6 * 7").result == "42"
    assert "42" in Marimo(grace.server()).run("answer.py", "6 * 7")[0]
    server = inspect(host, "jupyterhub-user-grace")
    assert server["Config"]["Image"] == "jupyterhub/env-datascience:built"
    assert "VIRTUAL_ENV=/home/jovyan/.local/share/jupyterhub/envs/datascience-py3.13" in server["Config"]["Env"]
    grace.server().stop()
    grace.request("GET", "/hub/logout")
    assert not grace.is_logged_in()


def test_login_of_a_non_member_is_refused(app: App) -> None:
    app.github.add_user("mallory")
    assert Person(URL, "mallory", app.certificate).login().status_code == 403


def test_user_works_in_a_browser(app: App) -> None:
    app.do_the_main_job("Henry", "compose-plain")


def test_server_is_fenced(host: Host, app: App) -> None:
    app.member("Bob").server().start("base")
    assert_fence(host, "bob", HUB, PROXY)


def test_members_share_a_workspace_and_its_folders(app: App) -> None:
    bob, paula, outsider = (app.member(login) for login in ("Bob", "Paula", "Olga"))
    lab = bob.workspace("lab")
    lab.start()
    lab.write("shared.txt", "by Bob")
    theirs = paula.workspace("lab")
    theirs.open().raise_for_status()
    assert theirs.read("shared.txt") == "by Bob"
    [version] = theirs.request("GET", "jupyterhub-versions/shared.txt").json()["versions"]
    assert version["name"]
    with lab.kernel() as kernel:
        assert kernel.execute("import os; os.environ['JUPYTERHUB_COLLABORATION']").result == "'1'"
    # With the folders that are declared for it.
    lab.write("shared/notes/first.txt", "by Bob")
    assert theirs.read("shared/notes/first.txt") == "by Bob"
    assert "(<code>shared/notes</code>): you can only read" in outsider.request("GET", "/hub/home").text
    assert outsider.workspace("lab").open().status_code in (403, 404)
    assert 'id="workspace.lab"' not in outsider.request("GET", "/hub/home").text
    lab.stop()


def test_server_is_shared_by_a_link(app: App) -> None:
    ruth, paula = app.member("Ruth"), app.member("Paula")
    ruth.server().start("base")
    ruth.server().write("hers.txt", "by Ruth")
    assert open_as_guest(paula, "ruth").status_code == 403
    code = link(ruth)
    ask(paula, "accept", code=code).raise_for_status()
    open_as_guest(paula, "ruth").raise_for_status()
    guests = Server(paula, "", owner="ruth")
    assert guests.read("hers.txt") == "by Ruth"
    ask(ruth, "end", server="", what="all").raise_for_status()
    eventually("the end of her access", lambda: not paula.request("GET", f"{guests.path}api/contents").ok, 30)
    assert ask(paula, "accept", code=code).status_code == 404
    assert code not in app.compose("logs")
    ruth.server().stop()


def test_lost_fence_is_restored(host: Host, app: App) -> None:
    host.check_output(f"docker exec {FENCE} nft delete table inet jupyterhub_fence")
    eventually("the rules", lambda: host.run(f"docker exec {FENCE} nft list table inet jupyterhub_fence").rc == 0)
    assert_fence(host, "bob", HUB, PROXY)
    host.check_output(f"docker rm --force {FENCE}")
    # The Hub may just be proving the rules above, and looks for the helper only after that.
    eventually("the helper", lambda: host.run(f"docker exec {FENCE} /run/fence check").stdout == "in force\n", 180)


def test_no_server_starts_without_the_fence(host: Host, app: App) -> None:
    cleo = app.member("Cleo")
    host.check_output(f"docker pause {FENCE}")
    try:
        # Longer than the Hub caches the last answer.
        time.sleep(6)
        with pytest.raises(StartError, match="the network is not safe"):
            cleo.server().start("base")
    finally:
        host.check_output(f"docker unpause {FENCE}")
    cleo.server().start("base")
    cleo.server().stop()


def test_hub_is_unhealthy_while_the_fence_does_not_answer(host: Host, app: App) -> None:
    host.check_output(f"docker pause {FENCE}")
    try:
        # The Hub's next check of the fence, then three failed health checks.
        eventually("the Hub's health", lambda: inspect(host, HUB)["State"]["Health"]["Status"] == "unhealthy", 180)
    finally:
        host.check_output(f"docker unpause {FENCE}")
    app.wait_until_healthy()


def built_on(host: Host, name: str, **labels: str) -> str:
    """Build an image on top of that of the environment `base`, and return its id."""
    lines = [f"FROM {BUILT}", *(f"LABEL {key.replace('_', '.')}={value}" for key, value in labels.items())]
    host.check_output("printf %%s %s | docker build --quiet --tag %s -", "\n".join(lines), name)
    return str(inspect(host, name, "image")["Id"])


def test_labels_of_an_image_do_not_route_requests_to_a_server(host: Host, app: App) -> None:
    ours = inspect(host, BUILT, "image")["Id"]
    theirs = built_on(host, BUILT, traefik_enable="true", traefik_http_routers_x_rule="PathPrefix(`/`)", caddy="x.org")
    dora = app.member("Dora")
    try:
        dora.server().start("base")
        server = inspect(host, "jupyterhub-user-dora")
        assert server["Image"] == theirs
        found = server["Config"]["Labels"]
        blank = ("traefik.enable", "traefik.http.routers.x.rule", "caddy", "com.docker.compose.project")
        assert [found[name] for name in blank] == [""] * len(blank)
        assert found["coolify.managed"] == "false"
        others = {name for name, value in found.items() if value and not name.startswith("jupyterhub-ansible.")}
        assert others == {"coolify.managed"}
    finally:
        dora.server().stop()
        host.check_output(f"docker tag {ours} {BUILT} && docker rmi {theirs}")


def test_replaced_images_are_removed(host: Host, app: App) -> None:
    ours = inspect(host, BUILT, "image")["Id"]
    used, mine, old, before = (
        built_on(host, name, **{"jupyterhub-ansible_content-hash": name})
        for name in ("uuid_env-base:used", "mine:1", "uuid_env-base:old", "uuid_env-base:before")
    )
    host.check_output("docker create --name used uuid_env-base:used")
    try:
        # When it starts, the Hub tags the image of this commit again, which makes it the newest.
        host.check_output(f"docker restart {HUB}")
        app.wait_until_healthy()
        eventually("the old image", lambda: host.run(f"docker image inspect {old}").rc != 0, 120)
        removed = f"Removed the old image {old} (uuid_env-base:old)"
        eventually("the Hub's log", lambda: removed in app.compose("logs", "hub"))
        for image in (ours, used, mine, before):
            host.check_output(f"docker image inspect {image}")
        assert inspect(host, BUILT, "image")["Id"] == ours
    finally:
        host.check_output("docker rm used && docker rmi uuid_env-base:used mine:1 uuid_env-base:before")


def test_down_and_up_keep_servers_sessions_and_files(host: Host, app: App) -> None:
    bob = app.member("Bob")
    with bob.server().kernel() as kernel:
        kernel.execute("open('kept.txt', 'w').write('mine'); x = 41")
        before = started(host, "jupyterhub-user-bob")
        app.compose("down")
        assert started(host, "jupyterhub-user-bob") == before
        assert inspect(host, FENCE)["State"]["Running"], "the fence stays up for the running servers"
        app.compose("up", "--detach")
        app.wait_until_healthy()
        eventually("the server", bob.answers)
        kernel.reconnect()
        assert kernel.execute("x + 1").result == "42"
    assert started(host, "jupyterhub-user-bob") == before
    assert bob.is_logged_in()
    assert bob.server().read("kept.txt") == "mine"


def test_hub_stops_cleanly(host: Host, app: App) -> None:
    # Compose would kill it after 10 s.
    app.compose("stop", "--timeout", "120", "hub")
    assert "Unexpected error when forwarding signal" not in app.compose("logs", "--tail", "20", "hub")
    assert app.service("hub")["State"]["ExitCode"] == 0
    app.compose("up", "--detach")
    app.wait_until_healthy()


def test_proxy_receives_a_changed_token(host: Host, app: App) -> None:
    command = f"cd {FOLDER} && CONFIGPROXY_AUTH_TOKEN={token_hex(32)} docker compose up --detach"
    host.check_output(command)
    app.wait_until_healthy()
    bob = app.member("Bob")
    eventually("the server", bob.answers)
    # Back to the generated token.
    app.compose("up", "--detach")
    app.wait_until_healthy()
    eventually("the server", bob.answers)


def test_recreated_proxy_gets_its_routes_back(host: Host, app: App) -> None:
    bob = app.member("Bob")
    app.compose("up", "--detach", "--no-deps", "--force-recreate", "proxy")
    # The Hub attaches it to its networks and proves the fence for it first.
    eventually("the server", bob.answers, 180)


def test_hub_login_and_files_survive_a_reboot(host: Host, app: App) -> None:
    subprocess.run(["docker", "restart", host.backend.name], check=True, capture_output=True, timeout=120)
    app.wait_until_healthy()
    bob = app.member("Bob")
    assert bob.is_logged_in()
    # The server ended with the machine, which the Hub may still be finding out.
    eventually("the Hub's notice", lambda: not bob.servers())
    bob.server().start()
    assert bob.server().read("kept.txt") == "mine"
    # The rules were lost in the reboot, and are back.
    assert_fence(host, "bob", HUB, PROXY)


def test_check_reports_a_mistake_in_the_settings(host: Host, app: App) -> None:
    done = host.run(
        f"cd {FOLDER} && JUPYTERHUB_SETTINGS='serverr: {{}}' docker compose run --rm --no-deps hub"
        " python -m jupyterhub_ansible check"
    )
    assert done.rc == 1
    assert "serverr (JUPYTERHUB_SETTINGS): is not a known setting" in done.stderr + done.stdout


def test_check_passes_as_the_readme_runs_it(app: App) -> None:
    app.compose("exec", "--no-TTY", "--user", "64101", "hub", "python", "-m", "jupyterhub_ansible", "check")


def readme_s_commands() -> list[str]:
    text = (PROJECT / "compose/README.md").read_text()
    return re.findall(r"^    (.*)$", text[text.index("## Uninstall") :], re.MULTILINE)


def ours(host: Host) -> list[str]:
    """Return what there is of the Hub, without its volumes."""
    filtered = "--quiet --filter label=jupyterhub-ansible.project=jupyterhub"
    found = [each for what in ("ps --all", "network ls") for each in host.check_output(f"docker {what} {filtered}").split()]
    names = host.check_output("docker image ls --format '{{.Repository}}' | grep ^jupyterhub || :").split()
    return [*found, *names]


def test_uninstalling_refuses_while_the_hub_or_servers_run(host: Host, app: App) -> None:
    app.member("Bob").server().start()
    app.member("Bob").server().write("kept.txt", "mine")
    done = host.run(f"cd {FOLDER} && {readme_s_commands()[1]} --delete-data hub 2>&1")
    assert done.rc == 1
    assert f"It runs: {HUB}, {PROXY}" in done.stdout
    assert "Servers are running (1), of bob" in done.stdout
    assert "--delete-data hub: this Hub is called jupyterhub" in done.stdout
    assert "Nothing was changed." in done.stdout
    app.wait_until_healthy()


def test_readme_s_commands_uninstall_and_the_files_stay(host: Host, app: App) -> None:
    down, uninstall, remove = readme_s_commands()[:3]
    tables = "docker run --rm --network host --cap-add NET_ADMIN --user 0 --entrypoint nft {} list tables"
    image = inspect(host, FENCE)["Image"]
    assert "table inet jupyterhub_fence" in host.check_output(tables.format(image))
    host.check_output("docker tag %s keep:hub", image)
    home = inspect(host, "jupyterhub-user-bob", "volume")["Mountpoint"]
    host.check_output("cd %s && sh -ec %s", FOLDER, "\n".join([down, f"{uninstall} --stop-servers", remove]))
    assert ours(host) == []
    assert "jupyterhub_fence" not in host.check_output(tables.format("keep:hub"))
    assert host.file(f"{home}/kept.txt").content_string == "mine"
    assert host.check_output("docker volume ls --quiet --filter name=hub-state")
    # Twice is fine, and the name deletes the files.
    host.check_output("docker tag keep:hub jupyterhub-hub")
    host.check_output("cd %s && sh -ec %s", FOLDER, "\n".join(readme_s_commands()[3:5]))
    assert "jupyterhub" not in host.check_output("docker volume ls --quiet")
    assert ours(host) == []
