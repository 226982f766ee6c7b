"""The script of the role backup, with a stand-in for Docker: what it says, and its exit codes."""

from __future__ import annotations

import json
import os
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from project import ROLES

from plugins.module_utils.lease import take_lease

SCRIPT = ROLES / "backup/files/backup"
# Writes down how it was called.  A volume is asked for by the script's own format.
DOCKER = """#!/bin/sh
echo "$*" >>{folder}/calls
case "$1 $2" in
  "volume ls") cat {folder}/volumes ;;
  "volume inspect") case $4 in *json*) echo "{{\\"Name\\": \\"$5\\"}}" ;; *) echo "local 0 /volumes/$5" ;; esac ;;
  "run --rm") cat {folder}/says; exit $(cat {folder}/code) ;;
  "ps --filter" | "ps --format") cat {folder}/running ;;
esac
"""
SAVED = "id\nhub-user-ada\tjupyterhub-ansible.kind=home\tjupyterhub-ansible.user=ada\n"


class Machine:
    """A folder with the script, and what Docker answers."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.own = folder / "backup"
        self.state = self.own / "state"
        for each in (self.own / "secrets", folder / "repository", folder / "run"):
            each.mkdir(parents=True)
        (self.own / "secrets/password").write_text("canary")
        (self.own / "plan.json").write_text("{}")
        text = SCRIPT.read_text().replace("PATH=/usr", f"PATH={folder}:/usr")
        for name in ("lock", "lease"):
            text = text.replace(f"{name}=/run/", f"{name}={folder}/run/")
        (self.own / "backup").write_text(text)
        self.configure()
        self.answers(says="", code="0", volumes="hub-hub\nhub-user-ada\n", running="")
        docker = folder / "docker"
        docker.write_text(DOCKER.format(folder=folder))
        docker.chmod(0o755)

    def configure(self, **others: str) -> None:
        known = {
            "name": "hub",
            "root": "/srv/hub",
            "image": "hub/backup:1",
            "local": "yes",
            "adopted": "",
            "overdue_s": "0",
        }
        written = {**known, "repository": str(self.folder / "repository"), **others}
        (self.own / "backup.conf").write_text("".join(f"{name}='{value}'\n" for name, value in written.items()))

    def docker(self, command: str, does: str) -> None:
        """Have Docker do something else than usual."""
        program = self.folder / "docker"
        first, rest = program.read_text().split('case "$1 $2" in\n', 1)
        program.write_text(f'{first}case "$1 $2" in\n  "{command}") {does} ;;\n{rest}')

    def answers(self, **files: str) -> None:
        for name, text in files.items():
            (self.folder / name).write_text(text)

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = ["sh", str(self.own / "backup"), *arguments]
        environment = {name: value for name, value in os.environ.items() if name not in ("CI", "BACKUP_LOCKED")}
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=30, check=False)

    @property
    def runs(self) -> list[str]:
        calls = self.folder / "calls"
        return [line for line in calls.read_text().splitlines() if line.startswith("run ")] if calls.exists() else []


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def finished(machine: Machine, result: str, age_s: float = 0) -> None:
    machine.state.mkdir(exist_ok=True)
    (machine.state / "last.json").write_text(json.dumps({"result": result}))
    (machine.state / "last.txt").write_text(f"Backup of then: {result}\n")
    complete = machine.state / "complete"
    complete.touch()
    os.utime(complete, (time.time() - age_s,) * 2)


def test_a_run_gets_everything_read_only_and_no_network(machine: Machine) -> None:
    assert machine.run("run").returncode == 0
    [run] = machine.runs
    for mount in (
        "source=/volumes/hub-hub,target=/data/volumes/hub-hub,readonly",
        "source=/volumes/hub-user-ada,target=/data/volumes/hub-user-ada,readonly",
        "source=/srv/hub,target=/data/deployment,readonly",
        f"source={machine.own}/secrets,target=/run/secrets,readonly",
        f"source={machine.folder}/repository,target=/repository ",
    ):
        assert mount in run
    assert "--network none" in run
    assert "docker.sock" not in run
    assert run.endswith("hub/backup:1 save")
    assert (machine.state / "complete").exists()


def test_only_unfinished_files_of_restic_are_removed(machine: Machine) -> None:
    repository, ours = machine.folder / "repository", f"{'0a' * 32}-tmp-123"
    files = {f"data/0a/{ours}": 7200, f"data/0b/{ours}": 60, f"{ours}": 7200, f"data/{'0a' * 32}": 7200}
    files |= {"thesis-tmp-2.tex": 7200, "data/0a/thesis-tmp-2": 7200, f"photos/{ours}": 7200}
    for name, age_s in files.items():
        file = repository / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
        os.utime(file, (time.time() - age_s,) * 2)
    assert machine.run("run").returncode == 0
    assert [name for name in files if not (repository / name).exists()] == [f"data/0a/{ours}"]


def test_a_store_elsewhere_has_a_network_and_no_mount(machine: Machine) -> None:
    machine.configure(local="no", repository="rest:https://store/hub")
    assert machine.run("run").returncode == 0
    [run] = machine.runs
    assert ("--network bridge" in run, "target=/repository" in run) == (True, False)


def test_adopted_homes_are_found_by_their_names(machine: Machine) -> None:
    machine.configure(adopted="jhub-user-.*-.*")
    machine.docker(
        "volume ls",
        """case "$*" in
          *project=hub) echo hub-hub ;;
          *project) printf "hub-hub\\njhub-user-of-another\\n" ;;
          *) printf "hub-hub\\njhub-user-a-b\\njhub-user-of-another\\nother\\n" ;;
        esac""",
    )
    assert machine.run("run").returncode == 0
    [run] = machine.runs
    found = {name for name in ("jhub-user-a-b", "hub-hub", "jhub-user-of-another", "other") if f"/{name}," in run}
    assert found == {"jhub-user-a-b", "hub-hub"}


@pytest.mark.parametrize("said", ["No such volume: hub-user-ada", "get hub-user-ada: no such volume"])
def test_a_volume_that_is_removed_meanwhile_is_left_out(machine: Machine, said: str) -> None:
    machine.docker(
        "volume inspect",
        f"""case "$*" in
          *hub-user-ada) echo "Error: {said}" >&2; exit 1 ;;
          *json*) echo "{{\\"Name\\": \\"$5\\"}}" ;;
          *) echo "local 0 /volumes/$5" ;;
        esac""",
    )
    machine.docker("run --rm", f"cp {machine.own}/work/volumes.json {machine.folder}/seen")
    assert machine.run("run").returncode == 0
    [run] = machine.runs
    assert ("hub-user-ada" in run, json.loads((machine.folder / "seen").read_text())) == (False, [{"Name": "hub-hub"}])


@pytest.mark.parametrize("command", ["volume ls", "volume inspect"])
def test_a_run_that_docker_does_not_answer_is_a_failed_one(machine: Machine, command: str) -> None:
    """The last result would otherwise stay that of the run before."""
    finished(machine, "complete")
    machine.docker(command, "echo 'Cannot connect to the Docker daemon' >&2; exit 1")
    assert machine.run("run").returncode == 1
    assert (machine.run("state").returncode, "which volumes there are" in machine.run("state").stdout) == (1, True)


@pytest.mark.parametrize("code", ["1", "3"])
def test_the_exit_code_is_the_container_s(machine: Machine, code: str) -> None:
    machine.answers(code=code)
    assert machine.run("run").returncode == int(code)
    assert not (machine.state / "complete").exists()


@pytest.mark.parametrize(
    ("code", "words"), [("137", "it was killed"), ("125", "Docker could not run it (exit code 125")]
)
def test_what_the_container_cannot_write_down(machine: Machine, code: str, words: str) -> None:
    machine.answers(code=code)
    done = machine.run("run")
    assert (done.returncode, words in done.stderr) == (int(code), True)
    assert words in json.loads((machine.state / "last.json").read_text())["error"]
    assert machine.run("state").returncode == 1


def test_a_folder_that_is_gone_is_not_made_again(machine: Machine) -> None:
    machine.state.mkdir()
    (machine.state / "repository.json").write_text(json.dumps({"repository": str(machine.folder / "repository")}))
    (machine.folder / "repository").rmdir()
    done = machine.run("run")
    assert (done.returncode, "is gone. Fix: mount its disk" in done.stderr) == (1, True)
    assert not (machine.folder / "repository").exists()
    assert machine.runs == []


@pytest.mark.parametrize(
    ("result", "age_s", "overdue_s", "code", "first"),
    [
        ("complete", 0, 0, 0, "Backup of then: complete"),
        ("incomplete", 0, 0, 3, "Backup of then: incomplete"),
        ("failed", 0, 0, 1, "Backup of then: failed"),
        ("complete", 100, 200_000, 0, "Backup of then: complete"),
        ("complete", 300_000, 200_000, 4, "Overdue: no backup of the last 55 hours is complete"),
        ("failed", 300_000, 200_000, 1, "Overdue: "),
        ("complete", 300_000, 0, 0, "Backup of then: complete"),
    ],
)
def test_the_state_is_an_exit_code(
    machine: Machine, result: str, age_s: int, overdue_s: int, code: int, first: str
) -> None:
    machine.configure(overdue_s=str(overdue_s))
    finished(machine, result, age_s)
    done = machine.run("state")
    assert (done.returncode, done.stdout.startswith(first)) == (code, True), done


def test_a_killed_run_is_seen(machine: Machine) -> None:
    assert (machine.run("state").returncode, machine.run("state").stdout) == (4, "There is no backup yet.\n")
    finished(machine, "complete")
    (machine.state / "running.json").write_text("{}")
    done = machine.run("state")
    assert (done.returncode, "was killed in the middle" in done.stdout) == (1, True)
    with subprocess.Popen(["flock", machine.folder / "run/hub-backup.lock", "sleep", "10"]) as holder:
        time.sleep(0.3)
        assert machine.run("state").stdout.startswith("A backup is running.")
        assert "another backup or restore is running" in machine.run("run").stderr
        holder.terminate()


def test_listing_does_not_end_a_backup(machine: Machine) -> None:
    machine.run("run")
    assert "rm --force hub-backup" in (machine.folder / "calls").read_text().splitlines()
    (machine.folder / "calls").unlink()
    assert machine.run("list").returncode == 0
    assert "rm --force" not in (machine.folder / "calls").read_text()
    assert "--name hub-backup-list-" in machine.runs[0]


def test_the_key_is_for_terminals(machine: Machine) -> None:
    done = machine.run("key")
    assert (done.returncode, "canary" in done.stdout + done.stderr) == (1, False)


def test_a_restore_makes_the_volume_with_its_labels(machine: Machine) -> None:
    machine.answers(says=SAVED)
    docker = (machine.folder / "docker").read_text()
    # It does not exist until it is made.
    asked = f'"volume inspect") grep -q "volume create" {machine.folder}/calls || exit 1; echo "local 0 /volumes/$5" ;;'
    lines = [asked if line.lstrip().startswith('"volume inspect"') else line for line in docker.splitlines()]
    (machine.folder / "docker").write_text("\n".join(lines))
    # A dry run makes nothing.
    assert machine.run("restore", "--user", "ada", "--in-place").returncode == 1
    assert "volume create" not in (machine.folder / "calls").read_text()
    assert "--tmpfs=/target/volumes/hub-user-ada " in machine.runs[-1]
    done = machine.run("restore", "--user", "ada", "--path", "a b/c")
    assert done.returncode == 0, done
    made = "volume create --label jupyterhub-ansible.kind=home --label jupyterhub-ansible.user=ada hub-user-ada"
    assert made in (machine.folder / "calls").read_text().splitlines()
    run = machine.runs[-1]
    assert "source=/volumes/hub-user-ada,target=/target/volumes/hub-user-ada" in run
    assert "target=/repository,readonly" in run
    assert run.endswith("home --snapshot id --user ada --server  --path a b/c")


def test_in_place_a_name_must_be_given(machine: Machine) -> None:
    machine.answers(says=SAVED)
    done = machine.run("restore", "--user", "ada", "--in-place", "--confirm", "bob")
    assert (done.returncode, "add --confirm ada" in done.stderr) == (1, True)
    assert machine.runs[-1].endswith("--in-place --dry-run")
    assert "source=/volumes/hub-user-ada,target=/target/volumes/hub-user-ada " in machine.runs[-1]
    assert machine.run("restore", "--user", "ada", "--in-place", "--confirm", "ada").returncode == 0
    assert machine.runs[-1].endswith("--in-place")
    machine.answers(running="hub-user-ada\n")
    done = machine.run("restore", "--user", "ada", "--in-place", "--confirm", "ada")
    assert (done.returncode, "the server of ada runs (hub-user-ada)" in done.stderr) == (1, True)


@pytest.mark.parametrize("what", ["--hub", "--all"])
def test_a_hub_in_use_is_not_replaced_by_mistake(machine: Machine, what: str) -> None:
    machine.answers(says="id\nhub-hub\tjupyterhub-ansible.kind=hub-state\n")
    done = machine.run("restore", what)
    assert (done.returncode, "would be replaced" in done.stderr, "add --confirm hub" in done.stderr) == (1, True, True)
    assert "docker stop" not in (machine.folder / "calls").read_text()
    assert not [each for each in machine.runs if "/target/" in each]


def test_a_restore_has_the_lease_of_a_run(machine: Machine) -> None:
    machine.answers(says=SAVED)
    lease, wanted = machine.folder / "run/hub.lease", {"by": "ann", "token": "t", "seconds": 30}
    machine.docker("run --rm", f"cat {lease} >{machine.folder}/seen; cat {machine.folder}/says")
    assert machine.run("restore", "--user", "ada").returncode == 0
    assert json.loads((machine.folder / "seen").read_text())["by"].startswith("a restore (process ")
    assert not lease.exists()
    # Neither the lease nor the lock is held by anything that stays.
    assert take_lease({"path": str(lease), **wanted}) is None
    with ThreadPoolExecutor() as pool:
        waits = pool.submit(machine.run, "restore", "--user", "ada")
        time.sleep(1.5)
        lease.touch()
        refused = waits.result()
        assert (refused.returncode, "another run is changing this machine: that of ann." in refused.stderr) == (1, True)
        # It has the lease of a run that has just ended, or did not renew it in time.
        waits = pool.submit(machine.run, "restore", "--user", "ada")
        time.sleep(1.5)
        lease.unlink()
        assert waits.result().returncode == 0
    assert take_lease({"path": str(lease), **wanted}) is None
    os.utime(lease, (time.time() - 31,) * 2)
    assert machine.run("restore", "--user", "ada").returncode == 0


def test_a_restore_renews_its_lease(machine: Machine) -> None:
    """Whatever it is ended by."""
    machine.answers(says=SAVED)
    lease = machine.folder / "run/hub.lease"
    machine.docker("run --rm", f"cat {machine.folder}/says; touch --date '10 seconds ago' {lease}; sleep 6")
    command = ["sh", str(machine.own / "backup"), "restore", "--user", "ada"]
    environment = {**os.environ, "BACKUP_LOCKED": "1"}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as restore:
        time.sleep(1)
        end = time.monotonic() + 20
        while time.time() - lease.stat().st_mtime > 9 and time.monotonic() < end:
            time.sleep(0.1)
        assert time.monotonic() < end
        restore.terminate()
        restore.communicate(timeout=20)
    assert not lease.exists()


@pytest.mark.parametrize("what", ["--hub", "--all"])
def test_a_volume_in_use_is_not_written(machine: Machine, what: str) -> None:
    """Neither by a container that is not the Hub's, nor by a server that the Hub starts until it is stopped."""
    machine.configure(root=str(machine.folder))
    machine.answers(says=f"id\nhub-hub\tjupyterhub-ansible.kind=hub-state\n{SAVED.splitlines()[1]}\n")
    seen, calls = "hub-hub\nhub-audit\n", machine.folder / "calls"
    machine.answers(running=f"{seen}other\n")
    done = machine.run("restore", what, "--confirm", "hub")
    assert (done.returncode, "containers run (other ...)" in done.stderr) == (1, True), done
    assert "stop --time 30 hub-hub" not in calls.read_text()
    asked = next(line for line in calls.read_text().splitlines() if line.startswith("ps "))
    assert ("volume=hub-hub" in asked, "volume=hub-user-ada" in asked) == (True, what == "--all")
    machine.answers(running=seen)
    machine.docker("stop --time", f"echo hub-user-late >>{machine.folder}/running")
    done = machine.run("restore", what, "--confirm", "hub")
    assert (done.returncode, "containers run (hub-user-late ...)" in done.stderr) == (1, True), done
    assert not [each for each in machine.runs if "/target/" in each]
    assert "start hub-audit" in calls.read_text().splitlines()


@pytest.mark.parametrize(("content", "starts"), [("rows", True), ("", False), (None, False)])
def test_a_hub_without_a_database_is_not_started(machine: Machine, content: str | None, starts: bool) -> None:
    """It would make an empty one."""
    volume = machine.folder / "volumes-of/hub-hub"
    volume.mkdir(parents=True)
    if content is not None:
        (volume / "jupyterhub.sqlite").write_text(content)
    docker = (machine.folder / "docker").read_text()
    (machine.folder / "docker").write_text(docker.replace("local 0 /volumes/$5", f"{volume}"))
    machine.configure(root=str(machine.folder))
    machine.answers(says="id\nhub-hub\tjupyterhub-ansible.kind=hub-state\n")
    done = machine.run("restore", "--hub", "--confirm", "hub")
    calls = (machine.folder / "calls").read_text().splitlines()
    assert ("stop --time 30 hub-hub" in calls, "start hub-hub" in calls) == (True, starts)
    assert ("the Hub was not started" in done.stderr) == (not starts)


def test_usage(machine: Machine) -> None:
    for arguments in ([], ["what"], ["restore"], ["restore", "--what"], ["restore", "--path", "x"]):
        done = machine.run(*arguments)
        assert (done.returncode, "usage: " in done.stderr) == (2, True), arguments
