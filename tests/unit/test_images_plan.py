"""The images' names follow from what they are made of."""

from __future__ import annotations

import base64
import io
import json
import shutil
import tarfile
from pathlib import Path
from typing import Any

import pytest
from ansible.errors import AnsibleFilterError
from jupyterhub_ansible.settings.model import Environment
from jupyterhub_ansible.spawner.seccomp import PROFILE
from project import IMAGES, ROLES

from plugins.filter import image_plan as plan_filters

FILES = IMAGES
BASE = {"slug": "base", "title": "Base"}
SCIENCE = {"slug": "datascience", "title": "Science"}


def plan(*catalogue: dict[str, Any], **settings: Any) -> dict[str, Any]:
    given = {"project": "hub1", "system": "debian:trixie-slim", "refresh_date": "2026-01-01", **settings}
    made: dict[str, Any] = plan_filters.images_plan(list(catalogue), **given)
    return made


def hashes(made: dict[str, Any]) -> dict[str, str]:
    return {name: image["hash"] for name, image in made.items()}


def changed(before: dict[str, Any], after: dict[str, Any]) -> set[str]:
    return {name for name, value in hashes(after).items() if hashes(before).get(name) != value}


@pytest.fixture
def files(tmp_path: Path) -> Path:
    return Path(shutil.copytree(FILES, tmp_path / "files"))


def test_names() -> None:
    made = plan(BASE, SCIENCE)
    assert list(made) == ["os", "base", "hub", "proxy", "env-base", "env-datascience"]
    assert made["env-datascience"]["ref"] == f"hub1/env-datascience:{made['env-datascience']['hash']}"
    assert len(made["hub"]["hash"]) == 16


def test_the_project_is_no_part_of_the_hash() -> None:
    """Two projects on one engine share what is the same."""
    assert hashes(plan(BASE)) == hashes(plan(BASE, project="other"))


def test_what_changes_with_a_file(files: Path) -> None:
    before = plan(BASE, SCIENCE, files=str(files))
    with (files / "singleuser/entrypoint").open("a") as entrypoint:
        entrypoint.write("# changed\n")
    assert changed(before, plan(BASE, SCIENCE, files=str(files))) == {"env-base", "env-datascience"}


def test_what_is_no_content(files: Path) -> None:
    """Neither a clone's umask and times, nor what Python leaves behind."""
    before = plan(BASE, files=str(files))
    (files / "hub/requirements.txt").chmod(0o600)
    (files / "hub/requirements.txt").touch()
    (files / "hub/__pycache__").mkdir()
    (files / "hub/__pycache__/x.pyc").write_bytes(b"x")
    assert changed(before, plan(BASE, files=str(files))) == set()


def test_whether_a_file_may_be_run_is_content(files: Path) -> None:
    before = plan(BASE, files=str(files))
    (files / "proxy/entrypoint").chmod(0o644)
    assert changed(before, plan(BASE, files=str(files))) == {"proxy"}


def test_a_refresh_builds_all_but_the_system() -> None:
    before = plan(BASE)
    assert changed(before, plan(BASE, refresh_date="2026-02-01")) == set(before) - {"os"}


def test_operators_packages() -> None:
    made = plan(BASE, {"slug": "geo", "title": "Geo", "pip": ["geopandas"], "apt": ["gdal-bin"]})
    image = made["env-geo"]
    assert image["files"] == {
        "requirements.txt": "geopandas\n",
        "packages.txt": "gdal-bin\n",
        "network.env": (FILES / "network.env").read_text(),
    }
    assert image["parent"] == "env-base"
    assert image["args"] == {"SLUG": "geo"}


def test_operators_dockerfile(tmp_path: Path) -> None:
    (tmp_path / "r").mkdir()
    entry = {"slug": "r", "title": "R", "dockerfile": "r"}
    with pytest.raises(AnsibleFilterError, match=r"images_environments, r: .*/r has no Dockerfile"):
        plan(entry, playbook_dir=str(tmp_path))
    (tmp_path / "r/Dockerfile").write_text("ARG BASE\nFROM ${BASE}\n")
    before = plan(entry, playbook_dir=str(tmp_path))
    (tmp_path / "r/Dockerfile").write_text("ARG BASE\nFROM ${BASE}\nRUN true\n")
    # `base` is built for it, though users are not offered it.
    assert "env-base" in before
    assert changed(before, plan(entry, playbook_dir=str(tmp_path))) == {"env-r"}


def test_ready_image() -> None:
    made = plan({"slug": "scipy", "title": "Scipy", "image": "stacks/scipy:1"})
    assert made["env-scipy"]["ref"] == "stacks/scipy:1"
    assert "env-base" not in made


def test_nothing_says_how_it_is_made() -> None:
    with pytest.raises(AnsibleFilterError, match="geo: nothing says how it is made"):
        plan({"slug": "geo", "title": "Geo"})


def test_a_mirror_that_images_keep_has_no_password() -> None:
    with pytest.raises(AnsibleFilterError, match="images_apt_mirror") as refused:
        plan(BASE, apt_mirror="https://user:hunter2@mirror.test/debian")
    assert "hunter2" not in str(refused.value)


def names(missing: list[dict[str, Any]]) -> list[str]:
    return [image["name"] for image in missing]


def listing(made: dict[str, Any], *absent: str) -> list[str]:
    present = [image["ref"] for name, image in made.items() if name not in absent]
    return [f"{ref} {ref.rpartition(':')[0]}@<none>" for ref in present]


def test_missing() -> None:
    made = plan(BASE, SCIENCE)
    assert names(plan_filters.images_missing(made, [])) == list(made)
    assert names(plan_filters.images_missing(made, listing(made))) == []
    assert names(plan_filters.images_missing(made, listing(made, "proxy"))) == ["proxy"]


def test_the_system_is_needed_for_base_only() -> None:
    made = plan(BASE)
    assert names(plan_filters.images_missing(made, listing(made, "os"))) == []
    assert names(plan_filters.images_missing(made, listing(made, "os", "base"))) == ["os", "base"]


@pytest.mark.parametrize("ref", ["docker.io/library/busybox", "busybox", "busybox:latest", "busybox@sha256:ab"])
def test_a_ready_image_that_is_there(ref: str) -> None:
    made = plan({"slug": "x", "title": "X", "image": ref})
    shown = [*listing(made, "env-x"), "busybox:latest busybox@sha256:ab"]
    assert names(plan_filters.images_missing(made, shown)) == []


def test_packed_context() -> None:
    [hub] = plan_filters.images_packed([plan(BASE)["hub"]])
    with tarfile.open(fileobj=io.BytesIO(base64.b64decode(hub["context"]))) as archive:
        members = {member.name: member for member in archive}
    assert {"Dockerfile", "requirements.txt", "jupyterhub_ansible/spawner/spawner.py"} <= set(members)
    assert not [name for name in members if "__pycache__" in name]
    assert {member.mtime for member in members.values()} == {0}


def test_environments_are_tried_with_the_servers_profile() -> None:
    hub, base = plan_filters.images_packed([plan(BASE)["hub"], plan(BASE)["env-base"]])
    assert "seccomp" not in hub
    assert base["seccomp"] == PROFILE


def test_surplus() -> None:
    made = plan(BASE)
    old = [f"hub1/env-base:{number:016x}" for number in range(5)]
    # An operator's own may have such a tag, too, in the very same repository.
    strangers = ["other/env-base:" + "a" * 16, "hub1/env-base:mine", "postgres:18", "hub1/mine:" + "b" * 16]
    strangers.append("hub1/env-base:" + "c" * 16)
    shown = [f"{ref} x@<none>" for ref in [made["env-base"]["ref"], *strangers, *old]]
    own = [made["env-base"]["ref"], *old, "other/env-base:" + "a" * 16]
    assert plan_filters.images_surplus(made, shown, own, "hub1", 2) == old[2:]
    assert plan_filters.images_surplus(made, shown, own, "hub1", 5) == []


def test_a_base_that_a_registry_gave_has_no_label() -> None:
    shown = [f"hub1/os:{number}" for number in ("a" * 16, "b" * 16, "c" * 16, "mine")]
    assert plan_filters.images_surplus(plan(BASE), shown, [], "hub1", 2) == ["hub1/os:" + "c" * 16]


def test_surplus_of_an_environment_that_is_no_longer_in_the_catalogue() -> None:
    left = plan(BASE, SCIENCE)["env-datascience"]["ref"]
    shown = [f"{ref} x@<none>" for ref in (left, "hub1/env-datascience:mine")]
    assert plan_filters.images_surplus(plan(BASE), shown, [left], "hub1", 2) == [left]
    assert plan_filters.images_surplus(plan(BASE, SCIENCE), shown, [left], "hub1", 2) == []


def test_catalogue_for_the_hub() -> None:
    brought: dict[str, Any] = {"slug": "x", "title": "X", "image": "a/b:1", "home": "/home/me", "idle_timeout_s": 0}
    catalogue = [BASE, brought]
    [base, ready] = plan_filters.images_catalogue(catalogue, plan(*catalogue))
    assert base["image"].startswith("hub1/env-base:")
    assert (ready["image"], ready["home"]) == ("a/b:1", "/home/me")
    # Never is not the same as what holds for all.
    assert ("idle_timeout_s" in base, ready["idle_timeout_s"]) == (False, 0)
    # An image of others may tell the Hub anything of when it was in use, or nothing.
    assert (base["tells_activity"], ready["tells_activity"]) == (True, False)


def test_profiles_of_one_image() -> None:
    """Another page, size or group is no other image: nothing is built for it."""
    lab = {"slug": "marimo", "title": "marimo", "image_of": "base", "default_url": "/marimo/"}
    assert hashes(plan(BASE, lab)) == hashes(plan(BASE))
    catalogue = [BASE, lab]
    [base, marimo] = plan_filters.images_catalogue(catalogue, plan(*catalogue))
    assert marimo["image"] == base["image"]
    assert marimo["default_url"] == "/marimo/"


def test_a_profile_of_a_ready_image() -> None:
    catalogue = [{"slug": "x", "title": "X", "image": "a/b:1"}, {"slug": "y", "title": "Y", "image_of": "x"}]
    made = plan(*catalogue)
    assert "env-y" not in made
    assert "env-base" not in made
    assert [entry["image"] for entry in plan_filters.images_catalogue(catalogue, made)] == ["a/b:1", "a/b:1"]


@pytest.mark.parametrize("slug", ["base", "datascience"])
def test_a_profile_of_an_image_that_is_not_offered_itself(slug: str) -> None:
    catalogue = [{"slug": "marimo", "title": "marimo", "image_of": slug}]
    made = plan(*catalogue)
    assert hashes(made) == hashes(plan(BASE, *([SCIENCE] if slug == "datascience" else [])))
    assert plan_filters.images_catalogue(catalogue, made)[0]["image"] == made[f"env-{slug}"]["ref"]


@pytest.mark.parametrize("named", ["gone", "y"])
def test_a_profile_of_nothing(named: str) -> None:
    catalogue = [{"slug": "x", "title": "X", "image_of": named}, {"slug": "y", "title": "Y", "image_of": "base"}]
    with pytest.raises(AnsibleFilterError, match=f"x: image_of names {named}, which makes no image"):
        plan(*catalogue)


def test_what_else_the_hub_is_told() -> None:
    entry = {
        **BASE,
        "sizes": [
            {"slug": "very-small", "memory_mb": 512, "cpus": 0.5},
            {"slug": "l", "title": "Large", "memory_mb": 1024, "cpus": 1},
        ],
        "groups": ["acme:data"],
        "users": ["ann"],
        "environment": {"A": "b"},
        "mounts": [{"source": "/srv/data", "target": "/data"}, {"source": "v", "target": "/v", "read_only": False}],
        "gpus": 1,
    }
    [told] = plan_filters.images_catalogue([entry], plan(entry))
    assert {key: told[key] for key in entry} == entry
    known = Environment.model_validate(told)
    assert [size.name for size in known.sizes] == ["Very small", "Large"]
    assert [mount.read_only for mount in known.mounts] == [True, False]
    # The Hub's own code takes it, as well as an entry that says nothing.
    for each in plan_filters.images_catalogue([entry, SCIENCE], plan(entry, SCIENCE)):
        Environment.model_validate_json(json.dumps(each))


FOUND = {
    "programs": {"Python": "3.13.5"},
    "packages": {
        "julia": "0.6",
        "jupyterlab": "4.6.6",
        "numpy": "2.4.6",
        "scikit-learn": "1.9",
        "tornado": "6",
        "cowsay": "6.1",
    },
    "debian": {"gdal-bin": "3.10", "libc6": "2.41"},
}


def said(entry: dict[str, Any], *others: dict[str, Any]) -> list[str]:
    catalogue = [entry, *others]
    made = plan(*catalogue)
    contents = dict.fromkeys(plan_filters.images_refs(made), FOUND)
    return [each["name"] for each in plan_filters.images_catalogue(catalogue, made, contents)[0]["contents"]]


@pytest.mark.parametrize(
    ("entry", "names"),
    [
        (BASE, []),
        (SCIENCE, ["numpy", "scikit-learn"]),
        ({"slug": "y", "title": "Y", "image_of": "datascience"}, ["numpy", "scikit-learn"]),
        # What was asked for, whatever else is there.
        (
            {
                "slug": "g",
                "title": "G",
                "pip": ["cowsay>=6", "Scikit_Learn[x]", "git+https://x/numpy", "gone"],
                "apt": ["gdal-bin"],
            },
            ["cowsay", "scikit-learn", "gdal-bin"],
        ),
        # Of one that is made elsewhere, what is widely known.
        ({"slug": "r", "title": "R", "image": "a/b:1"}, ["numpy", "scikit-learn"]),
    ],
)
def test_what_is_said_of_the_contents(entry: dict[str, Any], names: list[str]) -> None:
    assert said(entry) == ["Python", "JupyterLab", *names]


def test_nothing_is_said_of_what_nobody_looked_at() -> None:
    assert plan_filters.images_catalogue([BASE], plan(BASE))[0]["contents"] == []


def test_images_of_users() -> None:
    ready = {"slug": "x", "title": "X", "image": "a/b:1"}
    made = plan(BASE, ready)
    assert plan_filters.images_refs(made) == sorted([made["env-base"]["ref"], "a/b:1"])


def test_locks_agree() -> None:
    """The data scientist's packages leave the server's at their versions, and those the Hub's."""

    def pins(lock: str) -> dict[str, str]:
        lines = (FILES / lock / "requirements.txt").read_text().splitlines()
        found = [line.split()[0].split("==") for line in lines if "==" in line and not line.startswith(" ")]
        return dict(found)

    server, science = pins("singleuser"), pins("datascience")
    assert {name for name in science.keys() & server.keys() if science[name] != server[name]} == set()
    assert server["jupyterhub"] == pins("hub")["jupyterhub"]


@pytest.mark.parametrize("folder", [FILES / "proxy", ROLES.parent / "tests/e2e"])
def test_npms_locks_name_no_host(folder: Path) -> None:
    """`resolved` would send npm past a mirror that the operator set."""
    lock = (folder / "package-lock.json").read_text()
    assert '"integrity"' in lock
    assert '"resolved"' not in lock


def test_caddys_image_is_there_where_it_is_needed_and_stays_for_a_way_back() -> None:
    assert "ingress" not in plan(BASE)
    built = plan(BASE, ingress="built")["ingress"]
    assert built["ref"].startswith("hub1/ingress:")
    assert built["parent"] == "base"
    other = plan(BASE, ingress="caddy:2")["ingress"]
    assert (other["ref"], other["kind"]) == ("caddy:2", "pulled")
    own = [f"hub1/ingress:{number * 16}" for number in "123"]
    listing = [f"{ref} <none>@<none>" for ref in own]
    assert plan_filters.images_surplus(plan(BASE), listing, own, "hub1", 2) == own[2:]
