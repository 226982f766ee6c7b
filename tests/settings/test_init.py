"""`make init` in a copy of the project: secrets are encrypted, nothing is overwritten, and the result deploys."""

from __future__ import annotations

import stat

import pytest
import yaml
from settings.copies import HOST, INVENTORY, Copy
from settings.test_cases import CADDY, GITHUB, problems

SECRET = GITHUB["hub_github_client_secret"]


def test_preflight_asks_for_what_is_missing_and_then_passes(copy: Copy) -> None:
    done = copy.init()
    assert done.returncode == 0, done.stderr
    for part in ("callback URL  http://127.0.0.1:8000/hub/oauth_callback", f"make deploy INVENTORY={INVENTORY}"):
        assert part in done.stdout

    before = copy.preflight()

    output = before.stdout + before.stderr
    assert before.returncode == 2
    assert "2 problems were found, nothing was changed:" in output
    assert "hub_github_client_id (group_vars/production/settings.yml, line 7): is still a placeholder" in output
    assert "callback URL http://127.0.0.1:18099/hub/oauth_callback" in output
    assert "hub_github_client_secret (group_vars/production/settings.yml, line 8): is still a placeholder" in output

    # As an operator who follows the two fixes.
    settings, vault = (copy.folder / "group_vars/production" / name for name in ("settings.yml", "vault.yml"))
    settings.write_text(settings.read_text().replace("changeme", GITHUB["hub_github_client_id"]))
    editor = copy.folder / "editor"
    editor.write_text(f"#!/bin/sh\nsed -i 's/secret: changeme/secret: {SECRET}/' \"$1\"\n")
    editor.chmod(0o755)
    assert copy.run("ansible-vault", "edit", vault, EDITOR=str(editor)).returncode == 0

    after = copy.preflight()

    assert after.returncode == 0, after.stdout + after.stderr
    assert SECRET not in vault.read_text() + after.stdout


def test_given_values_are_filled_in_and_secrets_are_encrypted(
    copy: Copy, tmp_path_factory: pytest.TempPathFactory
) -> None:
    secret = tmp_path_factory.mktemp("elsewhere") / "client-secret"
    secret.write_text(f"{SECRET}\n")
    app = {"GITHUB_CLIENT_ID": GITHUB["hub_github_client_id"], "GITHUB_CLIENT_SECRET_FILE": str(secret)}

    done = copy.init("--url", f"https://{HOST}", "--user", "deploy", **app)

    assert done.returncode == 0, done.stderr
    assert "OAuth app" not in done.stdout
    chosen = copy.variables()
    assert {name: chosen[name] for name in CADDY if name in chosen} == {
        name: value for name, value in CADDY.items() if name != "hub_authenticator"
    }
    assert chosen["ansible_user"] == "deploy"
    assert problems(chosen) == []
    assert [name for name, content in copy.files().items() if SECRET.encode() in content] == []
    for name in ("group_vars/production/vault.yml", ".vault-password"):
        assert stat.S_IMODE((copy.folder / name).stat().st_mode) == 0o600


def test_nothing_is_overwritten(copy: Copy) -> None:
    assert copy.init().returncode == 0
    written = copy.files()

    again = copy.init(host="other.team.dev")

    assert again.returncode == 1
    assert "Nothing was written. inventory/production.yml already exists." in again.stderr
    assert f"make check INVENTORY={INVENTORY}" in again.stderr
    assert "make init HOST=other.team.dev ADMIN=octocat NAME=another_name" in again.stderr
    assert copy.files() == written

    # A second Hub has its own files, but the same password.
    assert copy.init("--name", "second", host="10.1.2.3").returncode == 0
    assert {name: copy.files()[name] for name in written} == written
    inventory = yaml.safe_load((copy.folder / "inventory/second.yml").read_text())
    assert inventory == {"second": {"hosts": {"10.1.2.3": {"ansible_user": "root"}}}}
    assert copy.run("ansible-vault", "view", "group_vars/second/vault.yml").returncode == 0


@pytest.mark.parametrize("file", ["inventory/production.yml", "group_vars/production/vault.yml"])
def test_one_existing_file_is_enough_to_refuse(copy: Copy, file: str) -> None:
    (copy.folder / file).parent.mkdir(exist_ok=True)
    (copy.folder / file).write_text("mine")
    before = copy.files()
    assert f"{file} already exists" in copy.init().stderr
    assert copy.files() == before


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--host", ""], "make init HOST=hub.example.org ADMIN="),
        (["--host", "hub.example.org"], "HOST=hub.example.org is only an example"),
        (["--admin", "your-github-login"], "ADMIN=your-github-login is only an example"),
        (["--host", "root@hub.team.dev"], "set the account by USER="),
        (["--host", "https://hub.team.dev"], "is not a name or address of a machine"),
        (["--admin", "@mona"], 'did you mean "mona"?'),
        (["--admin", "mona@team.dev"], "not an e-mail address"),
        (["--user", "a b"], "is not a valid account name"),
        (["--name", "local"], "none of all, ungrouped, local"),
        (["--name", "../x"], "use lower-case letters"),
        (["--url", "https://hub.team.dev/"], "did you mean https://hub.team.dev?"),
        (["--url", "http://hub.team.dev"], "URL uses http, so logins could be intercepted"),
        (["--host", "hub.team.dev:2222"], "make init HOST=hub.team.dev, and then write ansible_port: 2222"),
        (["--host", "[2001:db8::1]:22"], "make init HOST=2001:db8::1, and then write ansible_port: 22"),
        (["--user=-x"], "is not a valid account name"),
    ],
)
def test_invalid_arguments_are_refused(copy: Copy, arguments: list[str], says: str) -> None:
    before = copy.files()
    done = copy.init(*arguments)
    assert done.returncode == 1
    assert says in done.stderr
    assert copy.files() == before


def test_an_unreadable_secret_is_refused_before_anything_is_written(copy: Copy) -> None:
    before = copy.files()
    assert "GITHUB_CLIENT_SECRET_FILE=/nowhere cannot be read" in copy.init(GITHUB_CLIENT_SECRET_FILE="/nowhere").stderr
    assert copy.files() == before


def test_a_secret_in_the_environment_is_not_ignored(copy: Copy) -> None:
    before = copy.files()
    done = copy.init(GITHUB_CLIENT_SECRET=SECRET)
    assert done.returncode == 1
    assert "Nothing was written. GITHUB_CLIENT_SECRET is set" in done.stderr
    assert "GITHUB_CLIENT_SECRET_FILE=" in done.stderr
    assert SECRET not in done.stdout + done.stderr
    assert copy.files() == before


@pytest.mark.parametrize("user", ["deploy.user", "Deploy", "1st", "42", "_a-b"])
def test_names_of_accounts(copy: Copy, user: str) -> None:
    assert copy.init("--user", user).returncode == 0
    assert copy.variables()["ansible_user"] == user


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ("HOST=-x", "Nothing was written. HOST=-x is not a name"),
        ("ADMIN=-octo", "Nothing was written. ADMIN=-octo is not a GitHub login name"),
        ("ADMIN=o'cat", "Nothing was written. ADMIN=o'cat is not a GitHub login name"),
        ("ADMIN=$(touch made)", "Nothing was written. ADMIN=$(touch made) is not a GitHub login name"),
        ("ADMIN='; touch made; '", "is not a GitHub login name"),
        ("USER=-x", "Nothing was written. USER=-x is not a valid"),
    ],
)
def test_make_passes_its_arguments_on_unchanged(copy: Copy, setting: str, says: str) -> None:
    before = copy.files()
    done = copy.make(f"HOST={HOST}", "ADMIN=octocat", setting)
    assert done.returncode != 0
    assert says in done.stderr
    assert "usage:" not in done.stderr
    assert copy.files() == before


def test_make_init(copy: Copy) -> None:
    # The shell's USER is unrelated.
    assert copy.make(f"HOST={HOST}", "ADMIN=octocat", USER="me").returncode == 0
    assert copy.variables()["ansible_user"] == "root"


@pytest.mark.parametrize(
    ("before", "says"),
    [
        ("touch group_vars/production", "group_vars/production/vault.yml cannot be written: Not a directory"),
        # Fails after the password, the folder and the vault have been written.
        (
            "yes '#' | head -c 9000 >>examples/production/group_vars/production/settings.yml; ulimit -f 8",
            "group_vars/production/settings.yml cannot be written: File too large",
        ),
        # Fails after everything else has been written.
        ("rm -r inventory; touch inventory", "inventory/production.yml cannot be written: Not a directory"),
    ],
)
def test_all_is_written_or_nothing(copy: Copy, before: str, says: str) -> None:
    script = (
        f"{before}; find . -name __pycache__ -prune -o -print >was; python -m bin.init --host {HOST} --admin octocat"
    )
    done = copy.run("bash", "-c", script)
    assert done.returncode == 1
    assert f"Nothing was written. {says}" in done.stderr
    assert "Traceback" not in done.stderr
    assert copy.run("bash", "-c", "find . -name __pycache__ -prune -o -print | diff was -").stdout == ""


@pytest.mark.parametrize("name", ["null", "on", "123", "0x10", "1e5"])
def test_names_that_yaml_would_read_as_another_type(copy: Copy, name: str) -> None:
    assert copy.init("--admin", name).returncode == 0
    settings = yaml.safe_load((copy.folder / "group_vars/production/settings.yml").read_text())
    assert settings["hub_admin_users"] == [name]
