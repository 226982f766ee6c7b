"""Backups while users work, and what comes back from them."""

from __future__ import annotations

import json
from typing import Any

from backups import FOLDER, REPOSITORY, Backup, content_of
from documented_files import undocumented
from e2e.client import eventually
from testinfra.host import Host
from vps import Admin, image, inspect, started, wait_until_healthy

CONTAINER = "jupyterhub-backup"
RUNNING = ("jupyterhub-hub", "jupyterhub-proxy", "jupyterhub-audit", "jupyterhub-user-ada", "jupyterhub-user-bob")


def test_the_timer_makes_backups_every_day(host: Host) -> None:
    host.check_output("systemd-analyze verify /etc/systemd/system/jupyterhub-backup.service")
    timer = host.check_output("systemctl show --property ActiveState,UnitFileState,Persistent jupyterhub-backup.timer")
    assert set(timer.split()) == {"ActiveState=active", "UnitFileState=enabled", "Persistent=yes"}
    assert "03:3" in host.check_output("systemctl list-timers jupyterhub-backup.timer")


def test_only_root_can_read_the_key(host: Host, backup: Backup) -> None:
    file = host.file(f"{FOLDER}/secrets/password")
    assert (file.uid, file.mode, host.file(f"{FOLDER}/secrets").mode) == (0, 0o600, 0o700)
    for name in ("plan.json", "settings.json", "backup.conf", "backup"):
        assert file.content_string not in host.file(f"{FOLDER}/{name}").content_string
    refused = backup.run("key")
    assert (refused.rc, "on a terminal only" in refused.stderr) == (1, True)
    assert file.content_string not in refused.stdout + refused.stderr
    terminal = "script --quiet --return --command 'sh %s/backup key' /dev/null"
    assert file.content_string in host.check_output(terminal, FOLDER)


def test_a_run_saves_everything_and_stops_nobody(host: Host, backup: Backup, homes: dict[str, str]) -> None:
    assert (backup.run("state").rc, len(homes)) == (4, 2)
    before = {name: started(host, name) for name in RUNNING}
    host.check_output("systemctl start --no-block jupyterhub-backup.service")
    seen: dict[str, Any] = {}

    def is_running() -> bool:
        if host.run("docker inspect %s", CONTAINER).rc == 0:
            seen.update(inspect(host, CONTAINER))
        return bool(seen)

    eventually("the container", is_running)
    limits = seen["HostConfig"]
    assert (limits["Memory"], limits["MemorySwap"], limits["NanoCpus"]) == (768 * 1024**2, 768 * 1024**2, 10**9)
    assert (limits["NetworkMode"], limits["ReadonlyRootfs"], limits["CapDrop"]) == ("none", True, ["ALL"])
    assert sorted(limits["CapAdd"]) in (["CHOWN", "DAC_READ_SEARCH"], ["CAP_CHOWN", "CAP_DAC_READ_SEARCH"])
    writable = {mount["Destination"] for mount in seen["Mounts"] if mount["RW"]}
    assert writable == {"/cache", "/data/copies", "/repository", "/state"}
    assert "docker.sock" not in json.dumps(seen)
    assert host.file(f"{FOLDER}/secrets/password").content_string not in json.dumps(seen)
    code = "systemctl show --property ActiveState,ExecMainStatus --value jupyterhub-backup.service"
    eventually("the end", lambda: host.check_output(code).split()[1] != "activating", 120)
    last = backup.last()
    assert (last["result"], last["incomplete"]) == ("complete", []), last
    assert (last["files"] > 80, last["bytes"] > 160_000_000) == (True, True), last
    assert any(name.endswith("/live.txt") for name in last["changed"]), last
    assert {name: started(host, name) for name in RUNNING} == before
    assert backup.must("state").startswith("Backup of ")
    assert not host.file(f"{FOLDER}/work").exists
    listed = backup.must("list").partition("snapshot  time")[2].splitlines()
    assert [line.split()[0] for line in listed[1:]] == [last["snapshot"][:8]]


def test_its_files_are_documented(host: Host) -> None:
    assert undocumented(host, least=20) == []


def test_files_come_back_beside_the_present_ones(host: Host, backup: Backup, homes: dict[str, str]) -> None:
    said = backup.must("restore", "--user", "ada")
    folder = said.split()[-1]
    assert folder.startswith("restored-20")
    assert content_of(host, "jupyterhub-user-ada", folder) == homes["ada"]
    # Of its 80 MB, a quarter is a hole.
    used = "docker exec --workdir /home/jovyan jupyterhub-user-ada stat --format %%b %s/large.bin"
    assert int(host.check_output(used, folder)) * 512 < 75_000_000
    # The same again is another folder.
    assert backup.must("restore", "--user", "ada", "--path", "private").split()[-1] == f"{folder}-2"
    mine = "docker exec --workdir /home/jovyan jupyterhub-user-ada sh -c %s"
    assert host.check_output(mine, f"cd {folder}-2 && find . -type f").split() == ["./private"]
    host.check_output(mine, f"echo mine >{folder}/mine && rm -r {folder}")


def test_a_database_in_use_is_consistent(host: Host, backup: Backup) -> None:
    """Two rows are written at a time; its log is not in the file."""
    folder = backup.must("restore", "--user", "ada", "--path", "live $1.sqlite").split()[-1]
    ask = "select count(*), sum(a) from rows; pragma integrity_check"
    program = (
        f"import sqlite3, os; d = sqlite3.connect('{folder}/live $1.sqlite');"
        f" print(*d.execute('{ask.split(';')[0]}').fetchone(), *d.execute('{ask.split(';')[1]}').fetchone(),"
        f" os.listdir('{folder}'), os.stat('{folder}/live $1.sqlite').st_uid)"
    )
    said = host.check_output("docker exec --workdir /home/jovyan jupyterhub-user-ada python3 -c %s", program)
    rows, total, intact, *rest = said.split(" ", 3)
    assert (int(rows) > 10, int(rows) % 2, total, intact) == (True, 0, "0", "ok"), said
    assert rest == ["['live $1.sqlite'] 1000"]
    present = host.check_output("docker exec jupyterhub-user-ada sh -c 'ls /home/jovyan/live*-wal'")
    assert present, "the log is there"


def test_a_file_comes_back_in_its_place(host: Host, backup: Backup, admin: Admin) -> None:
    server = "docker exec --workdir /home/jovyan jupyterhub-user-bob sh -c %s"
    host.check_output(server, "echo spoiled >notes; echo new >newer")
    place = ("restore", "--user", "bob", "--path", "notes", "--in-place")
    refused = backup.run(*place, "--confirm", "bob")
    assert (refused.rc, "the server of bob runs" in refused.stderr) == (1, True), refused
    admin.stop("bob")
    eventually("the container's end", lambda: host.check_output("docker ps --quiet --filter name=user-bob") == "")
    asked = backup.run(*place)
    assert (asked.rc, "add --confirm bob" in asked.stderr) == (1, True), asked
    assert "1 files and folders of" in asked.stdout
    read = "docker run --rm --user 0 --volume jupyterhub-user-bob:/v --entrypoint sh %s -c 'cat /v/notes /v/newer'"
    assert host.check_output(read, image(host)) == "spoiled\nnew"
    backup.must(*place, "--confirm", "bob")
    assert host.check_output(read, image(host)) == "as of the backupnew"
    refused = backup.run("restore", "--user", "bob", "--path", "../ada")
    assert (refused.rc, "leads out of the home" in refused.stderr) == (1, True)
    for wanted, words in (("carol", "no home of the user carol"), ("bob", "there is no backup 1999-01-01")):
        refused = backup.run("restore", "--user", wanted, *(["--snapshot", "1999-01-01"] if wanted == "bob" else []))
        assert (refused.rc, words in refused.stderr) == (1, True), refused


def test_the_hub_alone_comes_back(host: Host, backup: Backup, admin: Admin) -> None:
    admin.ask("POST", "/hub/api/users/late")
    assert admin.ask("GET", "/hub/api/users/late")[0] == 200
    ada = started(host, "jupyterhub-user-ada")
    asked = backup.run("restore", "--hub")
    assert (asked.rc, "add --confirm jupyterhub" in asked.stderr) == (1, True), asked
    assert admin.ask("GET", "/hub/api/users/late")[0] == 200
    said = backup.must("restore", "--hub", "--confirm", "jupyterhub")
    assert "the present database is kept" in said
    wait_until_healthy(host)
    # The token is in the database of the backup; the user who came later is not.
    assert admin.ask("GET", "/hub/api/users/late")[0] == 404
    assert admin.ask("GET", "/hub/api/users/ada")[0] == 200
    assert started(host, "jupyterhub-user-ada") == ada
    assert admin.ask("GET", "/user/ada/api/status")[0] == 200


def test_the_store_shows_nothing_of_its_content(host: Host) -> None:
    assert host.run("grep -rqa 'as of the backup' %s", REPOSITORY).rc == 1
    assert host.file(REPOSITORY).mode == 0o700
