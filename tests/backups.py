"""The backup's script on a throwaway machine, and homes whose content is known."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from testinfra.backend.base import CommandResult
from testinfra.host import Host
from vps import image

FOLDER = "/srv/jupyterhub/backup"
REPOSITORY = "/backups/hub"
# What a home may contain besides plain files.
FILL = """
import os, random, sqlite3
os.umask(0o022)
os.makedirs("Course notes/täglich $HOME [1]*", exist_ok=True)
for number in range(40):
    with open(f"Course notes/täglich $HOME [1]*/{number}.ipynb", "wb") as file:
        file.write(random.Random(number).randbytes(20_000))
with open("large.bin", "wb") as file:
    file.write(random.Random("large").randbytes(60_000_000))
os.truncate("large.bin", 80_000_000)
os.symlink("/run/secrets/password", "link to nothing here")
os.symlink("large.bin", "large")
os.link("large.bin", "large too")
os.mkdir("empty", 0o750)
with open("private", "w") as file:
    file.write("mine")
os.chmod("private", 0o600)
os.setxattr("private", "user.note", b"of mine")
open("notes", "w").write("as of the backup")
os.utime("notes", (1, 86400))
database = sqlite3.connect("old $x.db")
database.execute("create table t (x)")
database.commit()
os.utime("old $x.db", (1, 1))
"""
# One line for each path: what a restore must bring back.
LIST = """
import hashlib, os, stat, sys
for path, folders, files in sorted(os.walk(".")):
    if path.startswith("./restored-"):
        continue
    for name in sorted(folders + files):
        if path == "." and name.startswith((".", "restored-", "live")):
            continue
        full = os.path.join(path, name)
        about = os.lstat(full)
        what = oct(about.st_mode), about.st_uid, about.st_gid, about.st_nlink if stat.S_ISREG(about.st_mode) else 0
        content, extra = "", ""
        if stat.S_ISREG(about.st_mode):
            content = hashlib.sha256(open(full, "rb").read()).hexdigest()
            extra = sorted((each, os.getxattr(full, each)) for each in os.listxattr(full) if each.startswith("user."))
        elif stat.S_ISLNK(about.st_mode):
            content = os.readlink(full)
        time = 0 if stat.S_ISDIR(about.st_mode) and path == "." else about.st_mtime_ns
        print(full, *what, time, content, extra)
"""
# Ten times a second, in a database with a write-ahead log that is never emptied.
WRITE = """
import sqlite3, time
database = sqlite3.connect("live $1.sqlite", timeout=30)
database.execute("pragma journal_mode=wal")
database.execute("pragma wal_autocheckpoint=0")
database.execute("create table if not exists rows (a, b)")
for number in range(100000):
    with database:
        database.execute("insert into rows values (?, ?)", (number, "x" * 500))
        database.execute("insert into rows values (?, ?)", (-number, "x" * 500))
    open("live.txt", "w").write(str(number))
    time.sleep(0.05)
"""


@dataclass(frozen=True)
class Backup:
    """The script on the machine."""

    host: Host
    folder: str = FOLDER

    def run(self, *arguments: str) -> CommandResult:
        """Run it, and return what it did."""
        return self.host.run("sh %s/backup " + " ".join(["%s"] * len(arguments)), self.folder, *arguments)

    def must(self, *arguments: str) -> str:
        """Run it, and return what it printed."""
        done = self.run(*arguments)
        assert done.rc == 0, f"{done.stdout}\n{done.stderr}"
        text: str = done.stdout
        return text

    def last(self) -> dict[str, Any]:
        """Return the last result."""
        content: dict[str, Any] = json.loads(self.host.check_output("cat %s/state/last.json", self.folder))
        return content

    def copy(self, name: str, **plan: Any) -> Backup:
        """Return a script with a plan of its own, and nothing of what this one knows."""
        folder = f"/srv/{name}"
        self.host.check_output("rm -rf %s; mkdir %s", folder, folder)
        for each in ("backup", "backup.conf", "plan.json", "settings.json", "secrets"):
            self.host.check_output("cp -a %s/%s %s/", self.folder, each, folder)
        written = {**json.loads(self.host.check_output("cat %s/plan.json", folder)), **plan}
        self.host.check_output("printf %%s %s >%s/plan.json", json.dumps(written), folder)
        if repository := plan.get("repository"):
            local = "yes" if repository.startswith("/") else "no"
            conf = f"repository={repository}\nlocal={local}\n"
            self.host.check_output("printf %%s %s >>%s/backup.conf", conf, folder)
        return Backup(self.host, folder)


def in_server(host: Host, user: str, program: str, *, detached: bool = False) -> str:
    """Run Python in a user's server."""
    options = "--detach " if detached else ""
    command = f"docker exec {options}--workdir /home/jovyan jupyterhub-user-{user} python3 -c %s"
    text: str = host.check_output(command, program)
    return text


def content_of(host: Host, volume: str, folder: str = "") -> str:
    """Return what a volume or a folder in it contains, as `homes` does."""
    command = "docker run --rm --user 0 --volume %s:/v --workdir %s --entrypoint python3 %s -c %s"
    text: str = host.check_output(command, volume, f"/v/{folder}", image(host), LIST)
    return text
