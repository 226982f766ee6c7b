"""Real runs of Ansible: invalid settings stop them before anything is changed, with messages without secrets."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from pathlib import Path

import pytest
import yaml
from ansible.constants import DEFAULT_VAULT_IDENTITY
from ansible.parsing.vault import VaultLib, VaultSecret
from project import ROLES

ANSIBLE = shutil.which("ansible-playbook") or "ansible-playbook"
PROJECT = ROLES.parent
VAULT_PASSWORD = "of-the-tests"
CANARIES = {
    "name": "canary-by-name",
    "inline": "canary-inline-vault",
    "file": "canary-file-vault",
    "typo": "canary-misspelt",
    "nested": "canary-nested",
}
OPEN = {
    "setting": "canary-open-setting-1",
    "trait": "canary-open-trait-12",
    "url": "canary-open-url-1234",
    "vault": "canary-open-vault-123",
}
PREFLIGHT = """
- hosts: all
  become: true
  gather_facts: false
  roles: [preflight]
"""
MACHINE = """
all:
  hosts:
    localhost:
      ansible_connection: local
      ansible_python_interpreter: "{{ ansible_playbook_python }}"
      preflight_disk_min_gb: 0
      preflight_memory_min_mb: 0
"""


class Operator:
    """An operator with an inventory, who really runs playbooks."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.root = folder / "srv" / "hub"
        self.settings = folder / "group_vars" / "all.yml"
        self.settings.parent.mkdir()
        (folder / "hosts.yml").write_text(MACHINE)
        (folder / "preflight.yml").write_text(PREFLIGHT)
        (folder / "vault-password").write_text(VAULT_PASSWORD)
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.port: int = listener.getsockname()[1]

    def write(self, text: str) -> None:
        # Another name than that of a Hub deployed on this machine.
        self.settings.write_text(
            f"jupyterhub_name: settings-tst\njupyterhub_root: {self.root}\nnetwork_users_subnet: 10.254.16.0/20\n"
            f"hub_authenticator: shared-password\n{text}"
        )

    def run(self, *arguments: str, playbook: str | Path = "preflight.yml") -> subprocess.CompletedProcess[str]:
        vault = ["--vault-password-file", str(self.folder / "vault-password")]
        return subprocess.run(
            [ANSIBLE, "-i", str(self.folder / "hosts.yml"), str(self.folder / playbook), *vault, *arguments],
            cwd=PROJECT,
            env={**os.environ, "ANSIBLE_CONFIG": str(PROJECT / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1"},
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )


@pytest.fixture
def operator(tmp_path: Path) -> Operator:
    return Operator(tmp_path)


def encrypt(text: str) -> str:
    secret = VaultSecret(VAULT_PASSWORD.encode())
    encrypted: bytes = VaultLib([(DEFAULT_VAULT_IDENTITY, secret)]).encrypt(text.encode())
    return encrypted.decode()


def test_all_problems_in_one_message_and_no_secret_in_the_loudest_output(operator: Operator) -> None:
    inline = encrypt(CANARIES["inline"]).replace("\n", "\n  ").rstrip()
    operator.write(
        f"jupyterhub_port: '{operator.port}'\n"
        f"hub_user_password: [{CANARIES['name']}]\n"
        f"hub_default_environment: !vault |\n  {inline}\n"
        "jupyterhub_address: '{{ vault_address }}'\n"
        "hub_admin_password: '{{ vault_that_nobody_set }}'\n"
        f"hub_user_pasword: {CANARIES['typo']}\n"
        f"hub_server_environment: {{TOKEN: [{CANARIES['nested']}]}}\n"
    )
    (operator.settings.parent / "all").mkdir()
    operator.settings.rename(operator.settings.parent / "all" / "settings.yml")
    (operator.settings.parent / "all" / "vault.yml").write_text(encrypt(f"vault_address: {CANARIES['file']}\n"))
    done = operator.run("-vvv", "--diff")
    output = done.stdout + done.stderr
    assert done.returncode == 2
    for part in (
        "problems were found, nothing was changed:",
        "all/settings.yml, line 5): must be a whole number, but is a string",
        "hub_user_password (",
        "must be a string, but is a list",
        "jupyterhub_address (",
        "is not an IP address",
        "hub_admin_password (",
        "refers to a variable that is not set: 'vault_that_nobody_set' is undefined",
        "hub_user_pasword (",
        "did you mean hub_user_password",
        "hub_server_environment.TOKEN (",
        "hub_default_environment (",
        "is not in images_environments",
    ):
        assert part in output
    assert "Traceback" not in output
    assert [canary for canary in CANARIES.values() if canary in output] == []
    assert "changed=0" in output
    assert not operator.root.exists()


def test_a_vault_without_its_password_is_a_problem_too(operator: Operator) -> None:
    inline = encrypt("x").replace("\n", "\n  ").rstrip()
    operator.write(f"jupyterhub_port: {operator.port}\nhub_user_password: !vault |\n  {inline}\n")
    (operator.folder / "vault-password").write_text("another one")
    done = operator.run()
    assert done.returncode == 2
    assert "hub_user_password (" in done.stdout + done.stderr
    assert "give the vault password that decrypts it" in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr


def test_secrets_in_plain_text_in_files_that_git_tracks(operator: Operator) -> None:
    inline = encrypt("a-password-long-enough").replace("\n", "\n  ").rstrip()
    operator.write(
        f"jupyterhub_port: {operator.port}\n"
        f"hub_user_password: !vault |\n  {inline}\n"
        f"hub_admin_password: {OPEN['setting']}-of-32-characters\n"
        f"hub_traits: {{GoogleOAuthenticator: {{client_secret: {OPEN['trait']}}}}}\n"
        "hub_cookie_secret: '{{ vault_cookie_secret | hash(\"sha256\") }}'\n"
        f"images_pip_index_url: https://us:{OPEN['url']}@mirror.team.dev/simple\n"
    )
    folder = operator.settings.parent / "all"
    folder.mkdir()
    operator.settings.rename(folder / "settings.yml")
    lines = [line.partition(":")[0] for line in (folder / "settings.yml").read_text().splitlines()]
    (folder / "vault.yml").write_text(f"vault_cookie_secret: {OPEN['vault']}\nvault_other: {OPEN['vault']}\n")
    assert operator.run("--check").returncode == 0, "a folder without git"
    for command in (["init", "--quiet"], ["add", "."]):
        subprocess.run(["git", *command], cwd=operator.folder, check=True)

    done = operator.run("-vvv")

    output = done.stdout + done.stderr
    assert done.returncode == 2
    assert "4 problems were found, nothing was changed:" in output
    for about in ("hub_admin_password", "images_pip_index_url", "hub_traits.GoogleOAuthenticator.client_secret"):
        place = f"{folder}/settings.yml, line {lines.index(about.partition('.')[0]) + 1}"
        assert f"{about} ({place}): is in plain text in a file that git tracks" in output
    assert f"{folder}/vault.yml: is in plain text" in output
    assert [canary for canary in OPEN.values() if canary in output] == []
    # Once encrypted, it may be anywhere.
    (folder / "vault.yml").write_text(encrypt((folder / "vault.yml").read_text()))
    assert "3 problems were found" in operator.run().stdout


def test_a_port_that_another_program_holds(operator: Operator) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        operator.write(f"jupyterhub_port: {port}\n")
        done = operator.run()
    assert done.returncode == 2
    assert f"port {port} is taken by py" in done.stdout + done.stderr


def test_good_settings_pass_and_the_command_line_is_named_as_a_source(operator: Operator) -> None:
    operator.write(f"jupyterhub_port: {operator.port}\n")
    done = operator.run("--check", "-v")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "changed=0" in done.stdout
    # The summary names the files to change.
    assert done.stdout.partition("settings_files:")[2].split()[:2] == ["-", str(operator.settings)]
    operator.write(f"jupyterhub_port: {operator.port}\nhub_server_memory_mb: true\n")
    done = operator.run("-e", "hub_server_pids=512")
    assert done.returncode == 2
    assert "hub_server_pids (CLI option '-e'): must be a whole number" in done.stdout + done.stderr
    # Booleans have no tag of Ansible, so their line is searched for.
    assert "hub_server_memory_mb (" in done.stdout + done.stderr
    assert "all.yml, line 6): must be a whole number, but is true or false" in done.stdout + done.stderr
    assert """-e '{"name": value}'""" in done.stdout + done.stderr


def test_the_site_stops_before_it_changes_anything(operator: Operator) -> None:
    operator.write(f"jupyterhub_port: {operator.port}\nhub_server_memory_mb: 2G\n")
    done = operator.run(playbook=PROJECT / "site.yml")
    recap = done.stdout.partition("PLAY RECAP")[2]
    assert done.returncode == 2
    assert "hub_server_memory_mb" in done.stdout + done.stderr
    # No task of another role ran.
    assert "ok=0 " in recap
    assert "changed=0" in recap
    assert not operator.root.exists()


@pytest.mark.parametrize(
    ("secret", "settings", "told"),
    [
        ("", "", "there is no such secret. Fix: choose one of cookie_secret, crypt_key, proxy_token,"),
        ("github_client_secret", "", "GitHub generates it. Fix: generate a new one in the settings of the OAuth app"),
        ("crypt_key", "hub_crypt_key: '{{ vault_key }}'", "hub_crypt_key is set, so this secret is not generated."),
        ("user_password", "hub_authenticator: github", "hub_authenticator: github does not use this secret; only"),
    ],
)
def test_secrets_that_the_host_cannot_generate(operator: Operator, secret: str, settings: str, told: str) -> None:
    operator.write(settings)
    done = operator.run("-e", f"secret_to_rotate={secret}", playbook=PROJECT / "playbooks/rotate.yml")
    assert done.returncode == 2
    said = " ".join((done.stdout + done.stderr).split())
    assert f"SECRET={secret}: {told}" in said
    assert "Nothing was changed." in said
    assert not operator.root.exists()


def test_hosts_of_one_inventory_are_independent(operator: Operator) -> None:
    """A problem of one does not stop the other."""
    operator.write("jupyterhub_port: '{{ ports[inventory_hostname] }}'\nports: {localhost: 0, other: 18000}")
    machine = yaml.safe_load(MACHINE)
    machine["all"]["hosts"]["other"] = machine["all"]["hosts"]["localhost"]
    (operator.folder / "hosts.yml").write_text(yaml.safe_dump(machine))
    play = yaml.safe_load(PREFLIGHT)
    play[0]["post_tasks"] = [{"ansible.builtin.debug": {"msg": "{{ inventory_hostname }} goes on"}}]
    (operator.folder / "preflight.yml").write_text(yaml.safe_dump(play))

    run = operator.run()

    assert run.returncode == 2, run.stdout
    assert "other goes on" in run.stdout
    assert "localhost goes on" not in run.stdout


def test_preflight_is_the_first_role_of_the_site() -> None:
    roles = yaml.safe_load((PROJECT / "playbooks/site.yml").read_text())[0]["roles"]
    assert roles[0] == "preflight", "an earlier role could change something"


def test_the_playbook_from_another_folder(tmp_path: Path) -> None:
    """Ansible does not read the project's ansible.cfg then, nor in a folder that everyone can write to."""
    project, elsewhere = tmp_path / "a project", tmp_path / "elsewhere"
    project.mkdir()
    for name in ("site.yml", "ansible.cfg"):
        shutil.copy(PROJECT / name, project / name)
    for name in ("playbooks", "collections"):
        shutil.copytree(PROJECT / name, project / name, symlinks=True)
    for name in ("roles", "plugins"):
        (project / name).symlink_to(PROJECT / name)
    (tmp_path / "hosts.yml").write_text(MACHINE)
    project.chmod(0o777)
    elsewhere.mkdir()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")}

    def run(folder: Path, *arguments: str | Path, playbook: str = "site.yml") -> str:
        done = subprocess.run(
            [ANSIBLE, project / playbook, "-e", "jupyterhub_port=x", *arguments],
            cwd=folder,
            env={**environment, "ANSIBLE_NOCOLOR": "1", "ANSIBLE_CALLBACK_RESULT_FORMAT": "yaml"},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.returncode
        return done.stdout + done.stderr

    inventory = ("-i", tmp_path / "hosts.yml")
    said = run(project, *inventory)
    assert "jupyterhub_port (CLI option '-e'): must be a whole number" in said
    assert "export ANSIBLE_CONFIG=" in " ".join(said.split())
    said = run(elsewhere, *inventory, "-e", "secret_to_rotate=cookie_secret", playbook="playbooks/rotate.yml")
    assert "jupyterhub_port (CLI option '-e'): must be a whole number" in said
    assert "the inventory has no hosts" in run(elsewhere)
    assert "--start-at-task would do a part" in run(elsewhere, *inventory, "--start-at-task", "Summary")
