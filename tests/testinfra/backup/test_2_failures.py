"""Whatever goes wrong has a message of its own, and the next run works."""

from __future__ import annotations

import os
import shlex
import subprocess

from backups import REPOSITORY, Backup
from e2e.client import eventually
from project import PROJECT
from testinfra.host import Host

LOCKS = f"ls {REPOSITORY}/locks"
FLIP = """
import sys
with open(sys.argv[1], "r+b") as file:
    file.seek(5000)
    byte = file.read(1)[0]
    file.seek(5000)
    file.write(bytes([byte ^ 1]))
"""


def failed(backup: Backup, *words: str) -> None:
    """Make a backup that fails, and see that its message has these words."""
    done = backup.run("run")
    last = backup.last()
    assert (done.rc, last["result"]) == (1, "failed"), done
    for word in words:
        assert word in last["error"], last
    assert (backup.run("state").rc, last["error"] in backup.run("state").stdout) == (1, True)


def test_one_run_at_a_time(host: Host, backup: Backup) -> None:
    host.check_output("sh -c 'flock /run/jupyterhub-backup.lock sleep 3' >/dev/null 2>&1 & sleep 0.5")
    done = backup.run("run")
    assert (done.rc, "another backup or restore is running" in done.stderr) == (1, True), done
    eventually("the lock", lambda: host.run("flock --nonblock /run/jupyterhub-backup.lock true").rc == 0)


def test_a_wrong_key(host: Host, backup: Backup) -> None:
    other = backup.copy("wrong-key")
    host.check_output("printf another >%s/secrets/password", other.folder)
    failed(other, "the key is wrong", "backup_password")
    done = other.run("list")
    assert (done.rc, "the key is wrong" in done.stderr) == (1, True)
    assert backup.run("run").rc == 0


def test_a_disk_that_is_not_mounted(host: Host, backup: Backup) -> None:
    """A new repository in the empty folder would look like a backup."""
    host.check_output("mv %s %s.away", REPOSITORY, REPOSITORY)
    failed(backup, f"the folder {REPOSITORY} is gone", "mount its disk")
    host.check_output("mkdir %s", REPOSITORY)
    failed(backup, "the repository at", "is gone")
    assert host.file(REPOSITORY).listdir() == []
    host.check_output("rmdir %s && mv %s.away %s", REPOSITORY, REPOSITORY, REPOSITORY)
    assert backup.run("run").rc == 0


def test_a_full_store(host: Host, backup: Backup) -> None:
    host.check_output("mkdir -p /small && mount -t tmpfs -o size=20m,mode=0700 tmpfs /small")
    try:
        small = backup.copy("small", repository="/small/hub")
        failed(small, "the store is full")
        host.check_output("mount -o remount,size=400m /small")
        assert small.run("run").rc == 0
        assert small.must("verify").startswith("The repository is intact")
    finally:
        host.check_output("umount /small")


def test_a_store_that_does_not_answer(backup: Backup) -> None:
    failed(backup.copy("away", repository="rest:http://127.0.0.1:9/hub"), "cannot be reached: 127.0.0.1, port 9")


def test_a_run_that_is_killed(host: Host, backup: Backup) -> None:
    """Nothing of it is left that the next one would need a hand for."""
    for ended in ("docker kill jupyterhub-backup", "kill -9 $(cat /tmp/run.pid); docker kill jupyterhub-backup"):
        # Much to save, so that it is in the middle.
        random = "head -c 150000000 /dev/urandom >/var/lib/docker/volumes/jupyterhub-user-ada/_data/more.bin"
        host.check_output(random)
        host.check_output(
            "sh -c 'echo $$ >/tmp/run.pid; exec sh /srv/jupyterhub/backup/backup run' >/dev/null 2>&1 & sleep 0"
        )
        eventually("restic's lock", lambda: host.check_output(LOCKS) != "", 60)
        host.check_output("sleep 1")
        assert backup.run("state").stdout.startswith("A backup is running."), backup.run("state")
        host.check_output(ended)
        eventually("the end", lambda: host.run("flock --nonblock /run/jupyterhub-backup.lock true").rc == 0, 60)
        state = backup.run("state")
        assert (state.rc, "killed" in state.stdout) == (1, True), state
        assert host.check_output(LOCKS) != ""
        done = backup.run("run")
        assert done.rc == 0, done
        assert host.check_output(LOCKS) == ""
    assert backup.must("verify").startswith("The repository is intact")


def test_a_lock_of_another_machine_stays(host: Host, backup: Backup) -> None:
    """Only those of killed runs of this machine are removed."""
    image = host.check_output("docker image ls --filter label=jupyterhub-ansible.kind=backup --format '{{.ID}}'")
    holder = (
        f"docker run --rm --detach --name other --hostname other --network none --volume {REPOSITORY}:/repository"
        f" --volume {backup.folder}/secrets:/run/secrets:ro --entrypoint sh {image.split()[0]} -c %s"
    )
    options = "--repo /repository --password-file /run/secrets/password --no-cache"
    # Reads from a pipe that stays open.
    host.check_output(holder, f"sleep 300 | restic {options} backup --stdin")
    try:
        eventually("its lock", lambda: host.check_output(LOCKS) != "", 60)
        # To keep all backups, no exclusive lock is needed, which would wait for the other one.
        done = backup.copy("keeps-all", keep={}).run("run")
        assert (done.rc, host.check_output(f"ls {REPOSITORY}/locks | wc -l")) == (0, "1"), done
    finally:
        host.check_output("docker rm --force other")
    host.check_output(f"rm -f {REPOSITORY}/locks/*")


def test_a_flipped_byte(host: Host, backup: Backup) -> None:
    find = f"find {REPOSITORY}/data -type f ! -name '*-tmp-*' -printf '%s %p\\n'"
    largest = host.check_output(f"{find} | sort -n | tail -1").split()[1]
    host.check_output("chmod u+w %s; python3 -c %s %s", largest, FLIP, largest)
    done = backup.run("verify")
    assert (done.rc, "the repository is damaged" in done.stderr) == (1, True), done
    assert largest.rpartition("/")[2][:8] in done.stderr, done
    host.check_output("python3 -c %s %s", FLIP, largest)
    assert backup.must("verify").startswith("The repository is intact")


def make(*arguments: str, terminal: bool = False) -> subprocess.CompletedProcess[str]:
    """Run make as an operator does."""
    given = ["INVENTORY=molecule/inventory", "ARGS=--limit jhtest-backup"]
    # Not made again, whatever its age: it is the one that this test runs in.
    command = ["make", "--old-file=.venv/run.stamp", *arguments, *given]
    if terminal:
        command = ["script", "--quiet", "--return", "--command", shlex.join(command), "/dev/null"]
    environment = {name: value for name, value in os.environ.items() if name not in ("CI", "MAKEFLAGS", "MAKELEVEL")}
    return subprocess.run(command, cwd=PROJECT, env=environment, capture_output=True, text=True, check=False)


def test_make_does_the_same(host: Host, backup: Backup) -> None:
    done = make("backup")
    assert (done.returncode, "complete," in done.stdout) == (0, True), done
    done = make("backups")
    assert (done.returncode, backup.last()["snapshot"][:8] in done.stdout) == (0, True), done
    done = make("restore", "USER=ada", "FILE=Course notes/täglich $HOME [1]*/7.ipynb")
    assert (done.returncode, "3 files and folders of" in done.stdout) == (0, True), done
    done = make("restore", "ALL=yes", "CONFIRM=other")
    assert (done.returncode, "Nothing was changed" in done.stdout) == (2, True), done


def test_make_shows_the_key_on_a_terminal_only(host: Host, backup: Backup) -> None:
    key = host.file(f"{backup.folder}/secrets/password").content_string
    done = make("backup-key")
    assert (done.returncode, "on a terminal only" in done.stderr, key in done.stdout + done.stderr) == (2, True, False)
    done = make("backup-key", terminal=True)
    assert (done.returncode, key in done.stdout) == (0, True), done
