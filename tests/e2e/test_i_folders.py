"""Shared folders, from inside the containers of each user: what members write, readers read, and others do not see."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from e2e.client import eventually
from e2e.deployment import ARTEFACTS, Deployment, docker
from e2e.marimo_client import Marimo
from e2e.people import INTERVAL_S, Person, Place, github

LAB = {
    "slug": "lab",
    "title": "The Lab",
    "groups": ["acme:lab"],
    "read_users": ["Rita"],
    "workspaces": ["team"],
    "at_once": True,
}
NOTES = {"slug": "notes", "users": ["Ann", "Ben"]}
TEAM = {"slug": "team", "environment": "base", "users": ["Rita"]}
PEOPLE = ("Ann", "Ben", "Rita", "Otto")


@pytest.fixture(scope="module")
def course(deployment: Deployment) -> Iterator[Path]:
    """A folder of the machine, which belongs to its administrator."""
    folder = Path(f"/srv/{deployment.name}-course")
    folder.mkdir()
    (folder / "lesson.txt").write_text("lesson 1")
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def place(deployment: Deployment, course: Path) -> Iterator[Place]:
    with github(f"{deployment.name}-control", deployment.url, ARTEFACTS / "tls") as (account, settings, certificate):
        account.add_organization("acme")
        for team in ("Operators", "Lab"):
            account.add_team("acme", team)
        folders = [LAB, NOTES, {"slug": "course", "source": str(course), "read_all": True}]
        settings |= {"hub_shared_folders": folders, "hub_workspaces": [TEAM]}
        deployment.run(settings=settings).succeeded()
        yield Place(deployment, account, settings, certificate)
        for name in deployment.containers("label=jupyterhub-ansible.kind=user-server"):
            docker("rm", "--force", name)


@pytest.fixture(scope="module")
def people(place: Place) -> dict[str, Person]:
    """All of them at work; who starts first does not matter."""
    found = {name: place.member(name, "lab" if name in ("Ann", "Ben") else "") for name in PEOPLE}
    with ThreadPoolExecutor() as pool:
        starts = [pool.submit(each.server().start, "base") for each in found.values()]
        starts.append(pool.submit(found["Rita"].workspace("team").start))
        for each in starts:
            each.result()
    return found


def inside(place: Place, owner: str, command: str) -> str:
    """Run a command in a user's container, as a terminal there does."""
    name = place.deployment.server(owner)["Id"]
    return docker("exec", "--user", "1000", "--workdir", "/home/jovyan", name, "sh", "-c", command, check=False)


def folders(person: Person) -> list[str]:
    """Return what the person's home page says about shared folders."""
    return re.findall(r"<li>(.* \(<code>shared/.*)</li>", person.request("GET", "/hub/home").text)


def test_members_edit_each_others_files(place: Place, people: dict[str, Person]) -> None:
    ann, ben = people["Ann"].server(), people["Ben"].server()
    assert "shared" in {each["name"] for each in ann.request("GET", "api/contents/").json()["content"]}
    ann.write("shared/lab/plan.txt", "by Ann")
    assert ben.read("shared/lab/plan.txt") == "by Ann"
    ben.write("shared/lab/plan.txt", "by Ben")
    assert inside(place, "ann", "cat shared/lab/plan.txt; echo and Ann >> shared/lab/plan.txt") == "by Ben"
    assert ben.read("shared/lab/plan.txt") == "by Benand Ann\n"
    made = "mkdir shared/lab/old && touch shared/lab/old/x && umask 077 && touch shared/lab/y"
    assert inside(place, "ben", made) == ""
    ann.request("PATCH", "api/contents/shared/lab/y", json={"path": "shared/lab/old/z"})
    # A folder that another member made, with files.
    ann.request("DELETE", "api/contents/shared/lab/old")
    assert inside(place, "ben", "ls shared/lab") == "plan.txt"
    # Versions are in the home of whoever saves or opens.
    for name in ("ann", "ben"):
        assert re.search(r"\d\.txt$", inside(place, name, "ls versions/shared/lab/plan.txt"))
    # A workspace's server has it for all members.
    team = people["Rita"].workspace("team")
    assert team.read("shared/lab/plan.txt").startswith("by Ben")
    team.write("shared/lab/team.txt", "by the team")
    # Live collaboration opens them, too.
    team.request("PUT", "api/collaboration/session/shared/lab/team.txt", json={"format": "text", "type": "file"})
    team.stop()


def test_marimo_edits_them(place: Place, people: dict[str, Person]) -> None:
    marimo = Marimo(people["Ann"].server())
    assert marimo.run("shared/lab/nb.py", "print(6 * 7)") == ["42\n"]
    marimo.save("shared/lab/nb.py", "print(43)")
    assert "print(43)" in people["Ben"].server().read("shared/lab/nb.py")


def test_readers_only_read(place: Place, people: dict[str, Person], course: Path) -> None:
    rita, ann = people["Rita"].server(), people["Ann"].server()
    ann.write("shared/lab/read.txt", "for Rita")
    assert rita.read("shared/lab/read.txt") == "for Rita"
    for server, path in (
        (rita, "shared/lab/read.txt"),
        (rita, "shared/lab/new.txt"),
        (ann, "shared/course/new.txt"),
    ):
        body = {"type": "file", "format": "text", "content": "changed"}
        answer = server.user.request("PUT", f"{server.path}api/contents/{path}", json=body)
        assert (answer.status_code, answer.json()["message"]) == (403, f"Permission denied: {path}")
        assert server.user.request("DELETE", f"{server.path}api/contents/{path}").status_code in (403, 404)
    model = rita.request("GET", "api/contents/shared/lab/read.txt?content=0").json()
    assert model["writable"] is False, "JupyterLab opens it read-only"
    assert "Read-only file system" in inside(place, "rita", "echo x > shared/lab/read.txt")
    assert "Read-only file system" in inside(place, "ann", "touch shared/course/x")
    assert people["Otto"].server().read("shared/course/lesson.txt") == "lesson 1"
    assert (course / "lesson.txt").read_text() == "lesson 1"
    assert course.stat().st_uid == 0, "never ours"


def test_others_have_nothing(place: Place, people: dict[str, Person]) -> None:
    assert inside(place, "otto", "ls shared; ls /srv/shared; grep -c shared /proc/mounts") == "course\ncourse\n1"
    assert inside(place, "rita", "ls shared") == "course\nlab"
    assert folders(people["Otto"]) == ["Course (<code>shared/course</code>): you can only read"]
    assert folders(people["Ann"])[:2] == [
        "The Lab (<code>shared/lab</code>): you can read and change what is in it",
        "Notes (<code>shared/notes</code>): you can read and change what is in it",
    ]
    mounted = docker("volume", "ls", "--filter", "label=jupyterhub-ansible.kind=shared-folder", "--format", "{{.Name}}")
    ours = {each for each in mounted.split() if each.startswith(f"{place.deployment.name}--shared-")}
    assert ours == {f"{place.deployment.name}--shared-{slug}" for slug in ("lab", "notes")}


def test_who_leaves_is_stopped_at_once_and_has_none_at_the_next_start(place: Place, people: dict[str, Person]) -> None:
    ben = people["Ben"]
    ben.server().write("mine.txt", "Ben's")
    place.github.remove_team_member("acme", "lab", "Ben")
    notice = "because the shared folder The Lab may not be used in it any more. Save your work."
    eventually("a notice", lambda: notice in ben.request("GET", "/hub/messages").text, INTERVAL_S + 15)
    assert place.runs("ben")
    assert notice not in people["Otto"].request("GET", "/hub/messages").text
    eventually("the end of Ben's server", lambda: not place.runs("ben"), INTERVAL_S + 30)
    asked = ben.request("GET", "/hub/user/ben/lab")
    assert "It was stopped, because the shared folder The Lab may not be used in it any more." in asked.text
    assert place.runs("ann")
    ben.server().start("base")
    assert inside(place, "ben", "ls shared") == "course\nnotes"
    assert ben.server().read("mine.txt") == "Ben's"


def test_changes_count_from_the_next_start_and_leave_servers_alone(place: Place, people: dict[str, Person]) -> None:
    people["Ben"].server().write("shared/notes/todo.txt", "by Ben")
    before = {name: at for name, at in place.deployment.start_times().items() if "-user-" in name}
    lab, notes, course = place.settings["hub_shared_folders"]
    changed = [{**lab, "title": "Laboratory"}, {**notes, "users": ["Ann"]}, course]
    settings = {**place.settings, "hub_shared_folders": changed}
    place.deployment.run(settings=settings).succeeded()
    assert place.deployment.run(settings=settings).succeeded().changed == 0
    assert place.deployment.start_times().items() >= before.items()
    assert "Laboratory" in folders(people["Ann"])[0]
    # A server has what was allowed at its start.
    ben = people["Ben"].server()
    assert ben.read("shared/notes/todo.txt") == "by Ben"
    ben.stop()
    ben.start("base")
    assert inside(place, "ben", "ls shared") == "course"
    assert people["Ann"].server().read("shared/notes/todo.txt") == "by Ben"


def test_a_folder_that_servers_cannot_read_is_refused(place: Place, course: Path) -> None:
    course.chmod(0o700)
    run = place.deployment.run(settings=place.settings)
    course.chmod(0o755)
    assert run.code
    said = re.sub(r"\s+", " ", run.output)
    assert f'servers, which run as the user 1000, cannot read "{course}"' in said
    assert f"sudo chmod -R o+rX {course}" in said


def test_a_removed_folder_keeps_its_files(place: Place, people: dict[str, Person]) -> None:
    place.deployment.run(settings={**place.settings, "hub_shared_folders": []}).succeeded()
    ann = people["Ann"].server()
    ann.stop()
    ann.start("base")
    assert inside(place, "ann", "find . /srv -maxdepth 1 -name shared") == ""
    [volume] = json.loads(docker("volume", "inspect", f"{place.deployment.name}--shared-lab"))
    assert volume["Labels"]["jupyterhub-ansible.kind"] == "shared-folder"
    assert folders(people["Ann"]) == []
