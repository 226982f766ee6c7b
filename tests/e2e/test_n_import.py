"""Homes of The Littlest JupyterHub, and of Hubs with DockerSpawner, are copied; the dry run says exactly what."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from e2e.client import User
from e2e.deployment import Deployment, docker
from jupyterhub import orm

PEOPLE = {"ada": True, "b-c": False, "Cleo": False, "nobody": False}
"""Users of the other Hub, and whether they administer it."""
TEXT = "print('hello')\n" * 1000


@pytest.fixture(scope="module")
def elsewhere(deployment: Deployment) -> Iterator[Path]:
    """A folder with what another Hub left: a database, homes as folders; and homes as volumes."""
    deployment.run().succeeded()
    folder = Path(f"/srv/{deployment.name}-elsewhere")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    db = orm.new_session_factory(f"sqlite:///{folder}/jupyterhub.sqlite")()
    for name, admin in PEOPLE.items():
        db.add(user := orm.User(name=name, admin=admin))
        db.add(orm.Spawner(name="", user=user))
    db.add(orm.Spawner(name="gpu", user=db.query(orm.User).filter_by(name="ada").one()))
    db.commit()
    db.close()
    for name in ("ada", "b-c", "Cleo"):
        home = folder / f"home/jupyter-{name}"
        (home / ".config").mkdir(parents=True)
        (home / "work.py").write_text(f"# {name}\n{TEXT}")
        (home / ".config/secret").write_text(name)
        (home / ".config/secret").chmod(0o600)
        (home / "link").symlink_to("work.py")
        # As TLJH: each with a number of their own.
        for each in (home, *home.rglob("*")):
            os.chown(each, 1234, 1234, follow_symlinks=False)
    yield folder
    shutil.rmtree(folder)


def volume(name: str, text: str, image: str) -> str:
    docker("volume", "create", name)
    write = f"printf %s {text} > /home/from.txt; chown -R 1000 /home"
    run = ("run", "--rm", "--user", "0", "--network", "none", "--volume", f"{name}:/home", "--entrypoint", "sh")
    docker(*run, image, "-c", write)
    return name


def run(deployment: Deployment, *arguments: str) -> str:
    """Run the command; return what it says, also if it refuses."""
    return docker(
        "exec", deployment.hub, "sh", "-c", 'python -m jupyterhub_ansible import "$@" 2>&1 || true', "sh", *arguments
    )


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def test_homes_of_tljh(deployment: Deployment, elsewhere: Path) -> None:
    places = ("--homes", f"{elsewhere}/home/jupyter-{{username}}", "--database", f"{elsewhere}/jupyterhub.sqlite")
    before = docker("volume", "ls", "--quiet")
    shown = run(deployment, "tljh", *places)
    prefix = f"{deployment.name}-user-"
    assert f"ada: {elsewhere}/home/jupyter-ada (" in shown
    assert f"to {prefix}ada" in shown
    assert f"to {prefix}b-c" in shown
    assert f"to {prefix}cleo" in shown
    assert "Without a home there: nobody" in shown
    assert "Administrators there, and not in hub_admin_users: ada" in shown
    assert "3 of 3 homes, " in shown
    assert "Nothing was copied: that is done with --copy." in shown
    assert docker("volume", "ls", "--quiet") == before
    done = run(deployment, "tljh", *places, "--copy")
    assert "Done. The other Hub's homes stay as they are." in done
    # Exactly what was announced.
    assert [line for line in done.splitlines() if " to " in line] == [
        line for line in shown.splitlines() if " to " in line
    ]
    user = User(deployment.url, "b-c", deployment.secret("user_password"))
    user.login().raise_for_status()
    user.server().start("base")
    code = "import hashlib, os, pathlib; p = pathlib.Path('work.py'); s = pathlib.Path('.config/secret').stat()\n"
    code += "print(hashlib.sha256(p.read_bytes()).hexdigest(), s.st_uid, oct(s.st_mode), os.readlink('link'))"
    assert user.server().run(code).stdout == f"{digest(f'# b-c{chr(10)}{TEXT}')} 1000 0o100600 work.py\n"
    user.server().write("work.py", "mine now")
    # Again: what is here already, in use or not, is left alone.
    again = run(deployment, "tljh", *places, "--copy")
    assert f"left alone: there is a home already, which the container {prefix}b-c uses" in again
    assert "left alone: there is a home already, with files in it" in again
    assert "0 of 3 homes, 0.0 MB" in again
    assert user.server().read("work.py") == "mine now"
    user.server().stop()


def test_copy_that_was_cut_off_is_done_again(deployment: Deployment, elsewhere: Path) -> None:
    target = f"{deployment.name}-user-cleo"
    image = docker("inspect", "--format", "{{.Image}}", deployment.hub).strip()
    run_there = (
        "run",
        "--rm",
        "--user",
        "0",
        "--network",
        "none",
        "--volume",
        f"{target}:/to",
        "--entrypoint",
        "sh",
        image,
        "-c",
    )
    # As a container that was killed leaves it, while somebody worked there.
    part = "/to/.import-is-not-finished"
    docker(
        *run_there, f"mkdir {part} && mv /to/link /to/.config {part} && echo mine > /to/work.py && echo half > {part}/x"
    )
    places = ("--homes", f"{elsewhere}/home/jupyter-{{username}}", "--database", f"{elsewhere}/jupyterhub.sqlite")
    assert "1 of 3 homes" in run(deployment, "tljh", *places, "--copy")
    assert docker(*run_there, "ls -A /to").split() == [".config", "imported", "link", "work.py"]
    assert docker(*run_there, "cat /to/work.py").strip() == "mine"
    assert docker(*run_there, "head -1 /to/imported/work.py").strip() == "# Cleo"


def test_homes_of_dockerspawner(deployment: Deployment, elsewhere: Path) -> None:
    image = docker("inspect", "--format", "{{.Image}}", deployment.hub).strip()
    made = [volume(f"{deployment.name}old-{name}", name, image) for name in ("theodora-", "theodora-gpu", "e-2df-")]
    database = f"{deployment.name}_old-data"
    docker("volume", "create", database)
    try:
        db = orm.new_session_factory(f"sqlite:///{elsewhere}/other.sqlite")()
        for name, servers in {"theodora": ("", "gpu"), "e-f": ()}.items():
            db.add(user := orm.User(name=name))
            for server in servers:
                db.add(orm.Spawner(name=server, user=user))
        db.commit()
        db.close()
        mounted = ("--volume", f"{elsewhere}:/from:ro", "--volume", f"{database}:/to")
        docker(
            "run",
            "--rm",
            "--user",
            "0",
            *mounted,
            "--entrypoint",
            "cp",
            image,
            "/from/other.sqlite",
            "/to/jupyterhub.sqlite",
        )
        pattern = f"{deployment.name}old-{{username}}-{{servername}}"
        # As Compose names it, with the project before it.
        places = ("--homes", pattern, "--database", "old-data:jupyterhub.sqlite")
        assert "3 of 3 homes" in run(deployment, "compose", *places, "--copy")
        for user, server, text in (
            ("theodora", "", "theodora-"),
            ("theodora", "gpu", "theodora-gpu"),
            ("e-f", "", "e-2df-"),
        ):
            person = User(deployment.url, user, deployment.secret("user_password"))
            person.login().raise_for_status()
            found = person.server(server)
            found.start("base")
            assert found.read("from.txt") == text
            found.stop()
        # A named server's copy that was cut off, too.
        there = ("--rm", "--user", "0", "--network", "none", "--volume", f"{deployment.name}-user-theodora--gpu:/to")
        docker("run", *there, "--entrypoint", "mkdir", image, "/to/.import-is-not-finished")
        assert "1 of 3 homes" in run(deployment, "compose", *places, "--copy")
        # By another name.
        renamed = run(deployment, "compose", *places, "--rename", "e-f=eve")
        assert f"to {deployment.name}-user-eve" in renamed
    finally:
        for name in (*made, database):
            docker("volume", "rm", "--force", name)


def test_what_cannot_be_is_refused(deployment: Deployment, elsewhere: Path) -> None:
    said = run(deployment, "tljh", "--database", f"{elsewhere}/gone.sqlite")
    assert (
        f"The database {elsewhere}/gone.sqlite cannot be read: sqlite3.OperationalError: unable to open database file"
        in said
    )
    assert "Traceback" not in said
    assert "/gone/x" not in run(
        deployment, "tljh", "--homes", "/gone/x/{username}", "--database", f"{elsewhere}/jupyterhub.sqlite"
    )
    assert not Path("/gone").exists()
    assert "has no {username}" in run(deployment, "tljh", "--homes", "/home/x")
    assert "There are none" in run(deployment, "compose", "--database", "nowhere:x.sqlite")
