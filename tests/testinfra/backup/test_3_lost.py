"""A machine that is lost comes back from its backup; a backup that is turned off leaves what is saved."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from backups import FOLDER, REPOSITORY, Backup, content_of, in_server
from testinfra.host import Host
from vps import Admin, inspect, wait_until_healthy

HOMES = ("jupyterhub-user-ada", "jupyterhub-user-bob")


def owner(host: Host, name: str) -> str:
    """Owner and mode of a volume's own folder."""
    text: str = host.check_output("stat --format '%%u %%g %%a' %s", inspect(host, name, "volume")["Mountpoint"])
    return text


def test_everything_comes_back_on_a_bare_machine(
    host: Host, backup: Backup, admin: Admin, converge: Callable[..., Any]
) -> None:
    before = {name: content_of(host, name) for name in HOMES}
    owners = {name: owner(host, name) for name in HOMES}
    labels = {name: inspect(host, name, "volume")["Labels"] for name in HOMES}
    trail = host.check_output("docker exec jupyterhub-hub sh -c 'cat /srv/audit/*.jsonl'").splitlines()
    secret = host.file("/srv/jupyterhub/hub/secrets/cookie_secret").content_string
    assert backup.run("run").rc == 0
    host.check_output("docker rm --force --volumes $(docker ps --all --quiet)")
    host.check_output("docker volume rm $(docker volume ls --quiet)")
    host.check_output("rm -rf /srv/jupyterhub; rm -f /run/jupyterhub*.settled")
    # The same inventory on a bare machine.
    run = converge()
    assert run.ok, run.output
    assert host.file("/srv/jupyterhub/hub/secrets/cookie_secret").content_string != secret
    new = Admin(host)
    assert new.ask("GET", "/hub/api/users/ada")[0] == 404
    said = backup.must("restore", "--all", "--confirm", "jupyterhub")
    assert "jupyterhub-user-ada" in said
    # With the restored secrets.
    run = converge()
    assert run.ok, run.output
    wait_until_healthy(host)
    assert host.file("/srv/jupyterhub/hub/secrets/cookie_secret").content_string == secret
    for name in HOMES:
        assert "täglich" in before[name]
        assert content_of(host, name) == before[name]
        assert inspect(host, name, "volume")["Labels"] == labels[name]
        assert owner(host, name) == owners[name]
    # The token of before, and the servers of the lost machine are not taken for running.
    assert admin.ask("GET", "/hub/api/users/ada")[0] == 200
    found = host.check_output("docker exec jupyterhub-hub sh -c 'cat /srv/audit/*.jsonl'").splitlines()
    assert found[: len(trail)] == trail
    assert host.check_output("docker exec jupyterhub-audit python -m jupyterhub_ansible audit check").startswith(
        "Lines 1"
    )
    admin.start("ada")
    in_server(host, "ada", "open('new', 'w')")
    assert converge().changed == 0


def test_turned_off_it_leaves_what_was_saved(host: Host, converge: Callable[..., Any]) -> None:
    run = converge(backup_plan={})
    assert run.ok, run.output
    assert host.run("systemctl cat jupyterhub-backup.timer").rc != 0
    for path in (f"{FOLDER}/secrets/password", f"{REPOSITORY}/config"):
        assert host.file(path).exists
    assert converge(backup_plan={}).changed == 0
    run = converge()
    assert run.ok, run.output
    assert host.service("jupyterhub-backup.timer").is_enabled
