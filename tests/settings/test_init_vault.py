"""The vault's password in `make init`: typed, generated or already there, and as Ansible reads it."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys

import pytest
from settings.copies import HOST, Copy


class TestTheVaultsPassword:
    """It is the one that Ansible uses as well."""

    VAULT = "group_vars/production/vault.yml"

    def test_an_existing_one_is_not_listed_as_written(self, copy: Copy) -> None:
        # Ansible strips line breaks only.
        (copy.folder / ".vault-password").write_text(" of two words \r\n")
        done = copy.init()
        assert done.returncode == 0, done.stderr
        written, _, rest = done.stdout.partition("\n\n")
        assert ".vault-password" not in written
        assert "The vault is encrypted with the password of .vault-password, which already existed." in rest
        assert copy.run("ansible-vault", "view", self.VAULT).returncode == 0

    @pytest.mark.parametrize("content", ["", "\n", " \n"])
    def test_an_empty_one_is_refused(self, copy: Copy, content: str) -> None:
        (copy.folder / ".vault-password").write_text(content)
        before = copy.files()
        done = copy.init()
        assert done.returncode == 1
        assert "Nothing was written. .vault-password is empty: write the vault's password into it" in done.stderr
        assert copy.files() == before

    def test_a_folder_is_refused(self, copy: Copy) -> None:
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
    def test_another_source_without_a_password_is_refused(
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
    def test_our_own_files_are_not_another_source(self, copy: Copy, name: str) -> None:
        # Not the dummy that bin/vault-password prints without a password.
        done = copy.init(ANSIBLE_VAULT_PASSWORD_FILE=name)
        assert done.returncode == 0, done.stderr
        assert len((copy.folder / ".vault-password").read_text()) > 40
        assert copy.run("ansible-vault", "view", self.VAULT).returncode == 0

    def test_an_empty_variable_is_refused_as_by_ansible(self, copy: Copy) -> None:
        before = copy.files()
        assert "ANSIBLE_VAULT_PASSWORD_FILE= gives no password" in copy.init(ANSIBLE_VAULT_PASSWORD_FILE="").stderr
        assert copy.files() == before


CTRL_C, CTRL_D = "\x03", "\x04"


def typed(copy: Copy, *answers: str) -> tuple[int, str]:
    """Run init at a terminal, and type these answers; return its exit code and output."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "bin.init", "--host", HOST, "--admin", "octocat"],
        cwd=copy.folder,
        stdin=theirs,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        # So that it uses this terminal, not that of the tests.
        start_new_session=True,
    ) as run:
        assert run.stdout
        said = b""
        for answer in answers:
            # Input before the prompt would be discarded.
            while not said.endswith(b": ") and (more := run.stdout.read(1)):
                said += more
            if answer == CTRL_C:
                # It is not the process's controlling terminal, which would send the signal.
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


def test_two_different_passwords_are_refused(copy: Copy) -> None:
    before = copy.files()
    code, said = typed(copy, "one of mine", "another")
    assert code == 1
    assert "The two passwords differ." in said
    assert copy.files() == before


@pytest.mark.parametrize(
    ("answers", "says"),
    [
        ([CTRL_C], "Nothing was written: interrupted."),
        ([CTRL_D], "Nothing was written. No password was typed."),
        (["one of mine", CTRL_D], "Nothing was written. No password was typed."),
        (["  ", "  "], "Nothing was written. A password cannot begin or end with a blank"),
    ],
)
def test_without_a_valid_answer_nothing_is_written(copy: Copy, answers: list[str], says: str) -> None:
    before = copy.files()
    code, said = typed(copy, *answers)
    assert code == 1
    assert says in said
    assert "Traceback" not in said
    assert copy.files() == before


class TestWithoutAVaultPassword:
    """As for most people who try the project on their own machine."""

    def test_plain_files_are_read_without_a_warning(self, copy: Copy) -> None:
        done = copy.run("ansible-inventory", "-i", "inventory/local.yml", "--host", "localhost")
        assert json.loads(done.stdout)["hub_authenticator"] == "shared-password"
        assert done.stderr == ""

    def test_encrypted_files_fail_with_the_fix(self, copy: Copy) -> None:
        assert copy.init().returncode == 0
        (copy.folder / ".vault-password").unlink()
        done = copy.preflight()
        assert done.returncode != 0
        assert f"Write the password into {copy.folder}/.vault-password" in done.stderr

    @pytest.mark.parametrize("content", ["", "\n", None], ids=["empty", "blank", "folder"])
    def test_an_invalid_one_counts_as_missing(self, copy: Copy, content: str | None) -> None:
        password = copy.folder / ".vault-password"
        password.mkdir() if content is None else password.write_text(content)
        local = copy.run("ansible-inventory", "-i", "inventory/local.yml", "--host", "localhost")
        assert json.loads(local.stdout)["hub_authenticator"] == "shared-password"
        done = copy.run("ansible-vault", "encrypt_string", "--name", "vault_x", "x")
        assert done.returncode != 0
        assert f"{password} is empty or cannot be read." in done.stderr

    def test_nothing_is_encrypted_with_the_dummy(self, copy: Copy) -> None:
        done = copy.run("ansible-vault", "encrypt_string", "--name", "vault_x", "x")
        assert done.returncode != 0
        assert "There is no vault password." in done.stderr
        assert "$ANSIBLE_VAULT" not in done.stdout
