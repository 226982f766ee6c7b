"""`make init` in a copy of the project: secrets are encrypted, nothing is overwritten, and filled in it deploys."""

from __future__ import annotations

import json
import os
import pty
import runpy
import shutil
import signal
import stat
import subprocess
import sys
import traceback
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

import pytest
import yaml
from project import PROJECT
from settings.test_cases import CADDY, GITHUB, problems
from settings.test_runs import PREFLIGHT

BIN = Path(sys.executable).parent
COPIED = (
    "Makefile",
    "ansible.cfg",
    "bin",
    "collections",
    "examples",
    "group_vars/local.yml",
    "inventory/local.yml",
    "inventory/group_vars",
)
INVENTORY = "inventory/production.yml"
SECRET = GITHUB["hub_github_client_secret"]
HOST = "hub.team.dev"
# In place of the machine, which there is none of.
HERE: dict[str, Any] = {
    "ansible_connection": "local",
    "ansible_python_interpreter": sys.executable,
    "jupyterhub_name": "settings-tst",
    "jupyterhub_port": 18099,
    "network_users_subnet": "10.254.16.0/20",
    "preflight_disk_min_gb": 0,
    "preflight_memory_min_mb": 0,
    "hub_server_cpus": 1,
    "hub_server_memory_mb": 512,
}


class Copy:
    """A copy of what init and a first run of Ansible read."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in COPIED:
            target = folder / name
            target.parent.mkdir(exist_ok=True)
            if (PROJECT / name).is_dir() and not (PROJECT / name).is_symlink():
                shutil.copytree(PROJECT / name, target, symlinks=True)
            else:
                shutil.copy(PROJECT / name, target, follow_symlinks=False)
        for name in ("roles", "plugins"):
            (folder / name).symlink_to(PROJECT / name)
        (folder / "preflight.yml").write_text(PREFLIGHT)

    def run(self, *command: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command,
            cwd=self.folder,
            env=self.environment(**environment),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )

    def init(self, *more: str, host: str = HOST, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run bin.init in a fork of this process, which has imported Ansible once for all (settings.test_runs)."""
        command = ["bin.init", "--host", host, "--admin", "octocat", *more]
        variables = self.environment(**environment)
        with TemporaryFile("w+") as out, TemporaryFile("w+") as errors, Path(os.devnull).open() as nothing:
            child = os.fork()
            if not child:
                code = 1
                try:
                    for number, file in enumerate((nothing, out, errors)):
                        os.dup2(file.fileno(), number)
                    sys.stdin, sys.stdout, sys.stderr = (os.fdopen(each, mode) for each, mode in enumerate("rww"))
                    os.chdir(self.folder)
                    os.environ.clear()
                    os.environ.update(variables)
                    sys.argv = command
                    # That of the copy, not of the project.
                    sys.path.insert(0, str(self.folder))
                    sys.modules.pop("bin", None)
                    runpy.run_module(command[0], run_name="__main__", alter_sys=True)
                    code = 0
                except SystemExit as end:
                    code = end.code if isinstance(end.code, int) else bool(end.code)
                    print(end.code or "", file=sys.stderr)
                except BaseException:
                    traceback.print_exc()
                finally:
                    sys.stdout.flush()
                    sys.stderr.flush()
                    os._exit(code)
            _, status = os.waitpid(child, 0)
            said = []
            for file in (out, errors):
                file.seek(0)
                said.append(file.read())
        return subprocess.CompletedProcess(command, os.waitstatus_to_exitcode(status), *said)

    def environment(self, **more: str) -> dict[str, str]:
        known = {
            key: value
            for key, value in os.environ.items()
            if not key.startswith(("ANSIBLE_", "GITHUB_", "MAKE")) or "CALLBACK" in key
        }
        return {**known, "PATH": f"{BIN}:{os.environ['PATH']}", "ANSIBLE_NOCOLOR": "1", **more}

    def make(self, *settings: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """`make init` with the environment that there is, instead of making one."""
        return self.run("make", "--old-file=.venv/run.stamp", "init", *settings, **environment)

    def variables(self) -> dict[str, Any]:
        """What Ansible reads of the machine that init was told."""
        shown = self.run("ansible-inventory", "-i", INVENTORY, "--host", HOST)
        variables: dict[str, Any] = json.loads(shown.stdout)
        variables["hub_github_client_secret"] = variables.pop("vault_hub_github_client_secret")
        return variables

    def preflight(self) -> subprocess.CompletedProcess[str]:
        return self.run("ansible-playbook", "-i", INVENTORY, "preflight.yml", "--check", "-e", json.dumps(HERE))

    def files(self) -> dict[str, bytes]:
        return {
            str(path.relative_to(self.folder)): path.read_bytes()
            for path in self.folder.rglob("*")
            if path.is_file() and path.suffix != ".pyc"
        }


@pytest.fixture
def copy(tmp_path: Path) -> Copy:
    return Copy(tmp_path)


def test_what_is_missing_is_asked_for_by_preflight_and_then_it_passes(copy: Copy) -> None:
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

    # As somebody would, who follows the two fixes.
    settings, vault = (copy.folder / "group_vars/production" / name for name in ("settings.yml", "vault.yml"))
    settings.write_text(settings.read_text().replace("changeme", GITHUB["hub_github_client_id"]))
    editor = copy.folder / "editor"
    editor.write_text(f"#!/bin/sh\nsed -i 's/secret: changeme/secret: {SECRET}/' \"$1\"\n")
    editor.chmod(0o755)
    assert copy.run("ansible-vault", "edit", vault, EDITOR=str(editor)).returncode == 0

    after = copy.preflight()

    assert after.returncode == 0, after.stdout + after.stderr
    assert SECRET not in vault.read_text() + after.stdout


def test_what_is_given_is_filled_in_and_secrets_are_encrypted(
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


def test_nothing_is_ever_overwritten(copy: Copy) -> None:
    assert copy.init().returncode == 0
    written = copy.files()

    again = copy.init(host="other.team.dev")

    assert again.returncode == 1
    assert "Nothing was written. inventory/production.yml is there already." in again.stderr
    assert f"make check INVENTORY={INVENTORY}" in again.stderr
    assert "make init HOST=other.team.dev ADMIN=octocat NAME=another_name" in again.stderr
    assert copy.files() == written

    # A second Hub has files of its own, and the same password.
    assert copy.init("--name", "second", host="10.1.2.3").returncode == 0
    assert {name: copy.files()[name] for name in written} == written
    inventory = yaml.safe_load((copy.folder / "inventory/second.yml").read_text())
    assert inventory == {"second": {"hosts": {"10.1.2.3": {"ansible_user": "root"}}}}
    assert copy.run("ansible-vault", "view", "group_vars/second/vault.yml").returncode == 0


@pytest.mark.parametrize("file", ["inventory/production.yml", "group_vars/production/vault.yml"])
def test_one_file_in_the_way_is_enough(copy: Copy, file: str) -> None:
    (copy.folder / file).parent.mkdir(exist_ok=True)
    (copy.folder / file).write_text("mine")
    before = copy.files()
    assert f"{file} is there already" in copy.init().stderr
    assert copy.files() == before


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--host", ""], "make init HOST=hub.example.org ADMIN="),
        (["--host", "hub.example.org"], "HOST=hub.example.org is only an example"),
        (["--admin", "your-github-login"], "ADMIN=your-github-login is only an example"),
        (["--host", "root@hub.team.dev"], "the account is USER="),
        (["--host", "https://hub.team.dev"], "no name or address of a machine"),
        (["--admin", "@mona"], 'did you mean "mona"?'),
        (["--admin", "mona@team.dev"], "not an e-mail address"),
        (["--user", "a b"], "no name of an account"),
        (["--name", "local"], "none of all, ungrouped, local"),
        (["--name", "../x"], "use small letters"),
        (["--url", "https://hub.team.dev/"], "did you mean https://hub.team.dev?"),
        (["--url", "http://hub.team.dev"], "URL uses http, so logins could be intercepted"),
        (["--host", "hub.team.dev:2222"], "make init HOST=hub.team.dev, and then write ansible_port: 2222"),
        (["--host", "[2001:db8::1]:22"], "make init HOST=2001:db8::1, and then write ansible_port: 22"),
        (["--user=-x"], "no name of an account"),
    ],
)
def test_what_leads_nowhere_is_refused(copy: Copy, arguments: list[str], says: str) -> None:
    before = copy.files()
    done = copy.init(*arguments)
    assert done.returncode == 1
    assert says in done.stderr
    assert copy.files() == before


def test_a_secret_that_cannot_be_read_is_told_before_anything_is_written(copy: Copy) -> None:
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
        ("HOST=-x", "Nothing was written. HOST=-x is no name"),
        ("ADMIN=-octo", "Nothing was written. ADMIN=-octo is not a GitHub login name"),
        ("ADMIN=o'cat", "Nothing was written. ADMIN=o'cat is not a GitHub login name"),
        ("ADMIN=$(touch made)", "Nothing was written. ADMIN=$(touch made) is not a GitHub login name"),
        ("ADMIN='; touch made; '", "is not a GitHub login name"),
        ("USER=-x", "Nothing was written. USER=-x is no name"),
    ],
)
def test_make_passes_on_what_it_was_told_as_it_is(copy: Copy, setting: str, says: str) -> None:
    before = copy.files()
    done = copy.make(f"HOST={HOST}", "ADMIN=octocat", setting)
    assert done.returncode != 0
    assert says in done.stderr
    assert "usage:" not in done.stderr
    assert copy.files() == before


def test_make_init(copy: Copy) -> None:
    # USER of the shell is somebody else's.
    assert copy.make(f"HOST={HOST}", "ADMIN=octocat", USER="me").returncode == 0
    assert copy.variables()["ansible_user"] == "root"


@pytest.mark.parametrize(
    ("before", "says"),
    [
        ("touch group_vars/production", "group_vars/production/vault.yml cannot be written: Not a directory"),
        # By then there are the password, the folder and the vault.
        (
            "yes '#' | head -c 9000 >>examples/production/group_vars/production/settings.yml; ulimit -f 8",
            "group_vars/production/settings.yml cannot be written: File too large",
        ),
        # By then there is everything else.
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


class TestTheVaultsPassword:
    """It is what Ansible takes, too."""

    VAULT = "group_vars/production/vault.yml"

    def test_one_that_was_there_is_not_told_as_written(self, copy: Copy) -> None:
        # Ansible takes away line breaks, and nothing else.
        (copy.folder / ".vault-password").write_text(" of two words \r\n")
        done = copy.init()
        assert done.returncode == 0, done.stderr
        written, _, rest = done.stdout.partition("\n\n")
        assert ".vault-password" not in written
        assert "The vault is encrypted with the password of .vault-password, which was there." in rest
        assert copy.run("ansible-vault", "view", self.VAULT).returncode == 0

    @pytest.mark.parametrize("content", ["", "\n", " \n"])
    def test_an_empty_one_is_none(self, copy: Copy, content: str) -> None:
        (copy.folder / ".vault-password").write_text(content)
        before = copy.files()
        done = copy.init()
        assert done.returncode == 1
        assert "Nothing was written. .vault-password is empty: write the vault's password into it" in done.stderr
        assert copy.files() == before

    def test_a_folder_is_none(self, copy: Copy) -> None:
        (copy.folder / ".vault-password").mkdir()
        before = copy.files()
        done = copy.init()
        assert done.returncode == 1
        assert "Nothing was written. .vault-password cannot be read: Is a directory" in done.stderr
        assert "Traceback" not in done.stderr
        assert copy.files() == before

    @pytest.mark.parametrize(
        ("content", "mode"), [("of mine\n", 0o600), ("#!/bin/sh\necho of mine\n", 0o700)], ids=["file", "program"]
    )
    def test_another_file_or_program_is_used_as_ansible_does(
        self, copy: Copy, tmp_path_factory: pytest.TempPathFactory, content: str, mode: int
    ) -> None:
        other = tmp_path_factory.mktemp("elsewhere") / "password"
        other.write_text(content)
        other.chmod(mode)
        done = copy.init(ANSIBLE_VAULT_PASSWORD_FILE=str(other))
        assert done.returncode == 0, done.stderr
        assert ".vault-password" not in done.stdout
        assert f"ANSIBLE_VAULT_PASSWORD_FILE={other}" in done.stdout
        assert not (copy.folder / ".vault-password").exists()
        shown = copy.run("ansible-vault", "view", self.VAULT, ANSIBLE_VAULT_PASSWORD_FILE=str(other))
        assert "vault_hub_github_client_secret" in shown.stdout

    @pytest.mark.parametrize("content", ["", " \n", None, "#!/bin/sh\nexit 3\n", "#!/bin/sh\necho\n", "#!/nowhere\n"])
    def test_another_that_gives_none_is_told(
        self, copy: Copy, tmp_path_factory: pytest.TempPathFactory, content: str | None
    ) -> None:
        other = tmp_path_factory.mktemp("elsewhere") / "password"
        if content is not None:
            other.write_text(content)
            other.chmod(0o700 if content.startswith("#!") else 0o600)
        before = copy.files()
        done = copy.init(ANSIBLE_VAULT_PASSWORD_FILE=str(other))
        assert done.returncode == 1
        assert f"Nothing was written. ANSIBLE_VAULT_PASSWORD_FILE={other} gives no password: " in done.stderr
        assert "Traceback" not in done.stderr
        assert copy.files() == before

    @pytest.mark.parametrize("name", ["bin/vault-password", ".vault-password"])
    def test_ours_by_its_name_is_ours(self, copy: Copy, name: str) -> None:
        # Not the word that bin/vault-password gives without a password.
        done = copy.init(ANSIBLE_VAULT_PASSWORD_FILE=name)
        assert done.returncode == 0, done.stderr
        assert len((copy.folder / ".vault-password").read_text()) > 40
        assert copy.run("ansible-vault", "view", self.VAULT).returncode == 0

    def test_what_is_blank_in_the_environment_is_a_folder_to_ansible(self, copy: Copy) -> None:
        before = copy.files()
        assert "ANSIBLE_VAULT_PASSWORD_FILE= gives no password" in copy.init(ANSIBLE_VAULT_PASSWORD_FILE="").stderr
        assert copy.files() == before


@pytest.mark.parametrize("name", ["null", "on", "123", "0x10", "1e5"])
def test_names_that_yaml_takes_for_something_else(copy: Copy, name: str) -> None:
    assert copy.init("--admin", name).returncode == 0
    settings = yaml.safe_load((copy.folder / "group_vars/production/settings.yml").read_text())
    assert settings["hub_admin_users"] == [name]


CTRL_C, CTRL_D = "\x03", "\x04"


def typed(copy: Copy, *answers: str) -> tuple[int, str]:
    """Run init at a terminal, and give these answers; return its code and what it said."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "bin.init", "--host", HOST, "--admin", "octocat"],
        cwd=copy.folder,
        stdin=theirs,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        # So that it asks this terminal, not that of the tests.
        start_new_session=True,
    ) as run:
        assert run.stdout
        said = b""
        for answer in answers:
            # What is typed before the question is thrown away.
            while not said.endswith(b": ") and (more := run.stdout.read(1)):
                said += more
            if answer == CTRL_C:
                # The terminal is not run's own, which would send it.
                run.send_signal(signal.SIGINT)
            else:
                os.write(ours, f"{answer}\n".encode())
            said += b"|"
        said += run.stdout.read()
    os.close(ours)
    os.close(theirs)
    return run.returncode, said.decode()


@pytest.mark.parametrize(("answers", "least"), [(["one of mine", "one of mine"], 11), ([""], 40)])
def test_at_a_terminal_the_password_is_typed_or_made(copy: Copy, answers: list[str], least: int) -> None:
    code, said = typed(copy, *answers)
    assert code == 0, said
    password = (copy.folder / ".vault-password").read_text().strip()
    assert len(password) >= least
    assert password == answers[0] or not answers[0]
    assert password not in said
    assert copy.run("ansible-vault", "view", "group_vars/production/vault.yml").returncode == 0


def test_two_different_passwords_are_none(copy: Copy) -> None:
    before = copy.files()
    code, said = typed(copy, "one of mine", "another")
    assert code == 1
    assert "two different passwords" in said
    assert copy.files() == before


@pytest.mark.parametrize(
    ("answers", "says"),
    [
        ([CTRL_C], "Nothing was written. It was interrupted."),
        ([CTRL_D], "Nothing was written. No password was typed."),
        (["one of mine", CTRL_D], "Nothing was written. No password was typed."),
        (["  ", "  "], "Nothing was written. A password cannot begin or end with a blank"),
    ],
)
def test_no_answer_is_no_password(copy: Copy, answers: list[str], says: str) -> None:
    before = copy.files()
    code, said = typed(copy, *answers)
    assert code == 1
    assert says in said
    assert "Traceback" not in said
    assert copy.files() == before


class TestWithoutAVaultPassword:
    """As most have it, who try the project on their own machine."""

    def test_what_is_not_encrypted_is_read_without_a_word(self, copy: Copy) -> None:
        done = copy.run("ansible-inventory", "-i", "inventory/local.yml", "--host", "localhost")
        assert json.loads(done.stdout)["hub_authenticator"] == "shared-password"
        assert done.stderr == ""

    def test_what_is_encrypted_fails_with_the_fix(self, copy: Copy) -> None:
        assert copy.init().returncode == 0
        (copy.folder / ".vault-password").unlink()
        done = copy.preflight()
        assert done.returncode != 0
        assert f"Write the password into {copy.folder}/.vault-password" in done.stderr

    @pytest.mark.parametrize("content", ["", "\n", None], ids=["empty", "blank", "folder"])
    def test_one_that_cannot_be_is_none(self, copy: Copy, content: str | None) -> None:
        password = copy.folder / ".vault-password"
        password.mkdir() if content is None else password.write_text(content)
        local = copy.run("ansible-inventory", "-i", "inventory/local.yml", "--host", "localhost")
        assert json.loads(local.stdout)["hub_authenticator"] == "shared-password"
        done = copy.run("ansible-vault", "encrypt_string", "--name", "vault_x", "x")
        assert done.returncode != 0
        assert f"{password} is empty or cannot be read." in done.stderr

    def test_nothing_is_encrypted_with_a_word_that_anybody_knows(self, copy: Copy) -> None:
        done = copy.run("ansible-vault", "encrypt_string", "--name", "vault_x", "x")
        assert done.returncode != 0
        assert "There is no vault password." in done.stderr
        assert "$ANSIBLE_VAULT" not in done.stdout
