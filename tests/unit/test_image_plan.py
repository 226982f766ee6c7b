"""Images' names are hashes of what they are made of."""

from __future__ import annotations

import base64
import io
import shutil
import tarfile
from pathlib import Path
from typing import Any

import pytest
from ansible.errors import AnsibleFilterError
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


def test_the_project_is_not_part_of_the_hash() -> None:
    """Two projects on one engine share identical images."""
    assert hashes(plan(BASE)) == hashes(plan(BASE, project="other"))


def test_a_changed_file_changes_its_images(files: Path) -> None:
    before = plan(BASE, SCIENCE, files=str(files))
    with (files / "singleuser/entrypoint").open("a") as entrypoint:
        entrypoint.write("# changed\n")
    assert changed(before, plan(BASE, SCIENCE, files=str(files))) == {"env-base", "env-datascience"}


def test_the_operator_s_files_are_part_of_the_hub_s_image(tmp_path: Path) -> None:
    """Relative to the playbook, with their executable bit; taking the setting out gives the image of before."""
    own = tmp_path / "own"
    (own / "templates").mkdir(parents=True)
    (own / "templates/page.html").write_text("ours")
    (own / "logo.png").write_bytes(b"\x89PNG")
    before, after = plan(BASE), plan(BASE, playbook_dir=str(tmp_path), hub_files="own")
    assert changed(before, after) == {"hub"}
    [packed] = plan_filters.images_packed([after["hub"]])
    with tarfile.open(fileobj=io.BytesIO(base64.b64decode(packed["context"]))) as archive:
        names = archive.getnames()
        content = archive.extractfile("hub_files/templates/page.html")
        assert content
        assert content.read() == b"ours"
    assert {"Dockerfile", "hub_files/logo.png", "hub_files/README.md"} <= {*names}
    assert len(names) == len({*names})
    (own / "logo.png").write_bytes(b"other")
    assert changed(after, plan(BASE, playbook_dir=str(tmp_path), hub_files="own")) == {"hub"}


def test_umask_and_caches_are_not_content(files: Path) -> None:
    """A clone's umask and times, and Python's caches, do not count."""
    before = plan(BASE, files=str(files))
    (files / "hub/requirements.txt").chmod(0o600)
    (files / "hub/requirements.txt").touch()
    (files / "hub/__pycache__").mkdir()
    (files / "hub/__pycache__/x.pyc").write_bytes(b"x")
    assert changed(before, plan(BASE, files=str(files))) == set()


def test_the_executable_bit_is_content(files: Path) -> None:
    before = plan(BASE, files=str(files))
    (files / "proxy/entrypoint").chmod(0o644)
    assert changed(before, plan(BASE, files=str(files))) == {"proxy"}


def test_a_refresh_rebuilds_all_but_the_os_base() -> None:
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
    # `base` is built for it, even if it is not in the catalogue.
    assert "env-base" in before
    assert changed(before, plan(entry, playbook_dir=str(tmp_path))) == {"env-r"}


def test_ready_image() -> None:
    made = plan({"slug": "scipy", "title": "Scipy", "image": "stacks/scipy:1"})
    assert made["env-scipy"]["ref"] == "stacks/scipy:1"
    assert "env-base" not in made


def test_an_entry_without_a_source() -> None:
    with pytest.raises(AnsibleFilterError, match="geo: does not say where its image comes from"):
        plan({"slug": "geo", "title": "Geo"})


def test_a_mirror_with_a_password_is_refused() -> None:
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


def test_the_os_base_is_needed_for_base_only() -> None:
    made = plan(BASE)
    assert names(plan_filters.images_missing(made, listing(made, "os"))) == []
    assert names(plan_filters.images_missing(made, listing(made, "os", "base"))) == ["os", "base"]


@pytest.mark.parametrize("ref", ["docker.io/library/busybox", "busybox", "busybox:latest", "busybox@sha256:ab"])
def test_a_ready_image_that_exists(ref: str) -> None:
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


def test_environments_are_tested_with_the_servers_profile() -> None:
    hub, base = plan_filters.images_packed([plan(BASE)["hub"], plan(BASE)["env-base"]])
    assert "seccomp" not in hub
    assert base["seccomp"] == PROFILE


def test_surplus() -> None:
    made = plan(BASE)
    old = [f"hub1/env-base:{number:016x}" for number in range(5)]
    # An operator's own image may have such a tag as well, even in the same repository.
    strangers = ["other/env-base:" + "a" * 16, "hub1/env-base:mine", "postgres:18", "hub1/mine:" + "b" * 16]
    strangers.append("hub1/env-base:" + "c" * 16)
    shown = [f"{ref} x@<none>" for ref in [made["env-base"]["ref"], *strangers, *old]]
    own = [made["env-base"]["ref"], *old, "other/env-base:" + "a" * 16]
    assert plan_filters.images_surplus(made, shown, own, "hub1", 2) == old[2:]
    assert plan_filters.images_surplus(made, shown, own, "hub1", 5) == []


def test_a_base_from_a_registry_has_no_label() -> None:
    shown = [f"hub1/os:{number}" for number in ("a" * 16, "b" * 16, "c" * 16, "mine")]
    assert plan_filters.images_surplus(plan(BASE), shown, [], "hub1", 2) == ["hub1/os:" + "c" * 16]


def test_surplus_of_an_environment_that_is_no_longer_in_the_catalogue() -> None:
    left = plan(BASE, SCIENCE)["env-datascience"]["ref"]
    shown = [f"{ref} x@<none>" for ref in (left, "hub1/env-datascience:mine")]
    assert plan_filters.images_surplus(plan(BASE), shown, [left], "hub1", 2) == [left]
    assert plan_filters.images_surplus(plan(BASE, SCIENCE), shown, [left], "hub1", 2) == []


@pytest.mark.parametrize("named", ["gone", "y"])
def test_image_of_must_name_an_image(named: str) -> None:
    catalogue = [{"slug": "x", "title": "X", "image_of": named}, {"slug": "y", "title": "Y", "image_of": "base"}]
    with pytest.raises(AnsibleFilterError, match=f"x: image_of names {named}, which has no image of its own"):
        plan(*catalogue)


def test_images_of_users() -> None:
    ready = {"slug": "x", "title": "X", "image": "a/b:1"}
    made = plan(BASE, ready)
    assert plan_filters.images_refs(made) == sorted([made["env-base"]["ref"], "a/b:1"])


def test_locks_agree() -> None:
    """datascience keeps the server's versions, and the server has the Hub's JupyterHub."""

    def pins(lock: str) -> dict[str, str]:
        lines = (FILES / lock / "requirements.txt").read_text().splitlines()
        found = [line.split()[0].split("==") for line in lines if "==" in line and not line.startswith(" ")]
        return dict(found)

    server, science = pins("singleuser"), pins("datascience")
    assert {name for name in science.keys() & server.keys() if science[name] != server[name]} == set()
    assert server["jupyterhub"] == pins("hub")["jupyterhub"]


@pytest.mark.parametrize("folder", [FILES / "proxy", ROLES.parent / "tests/e2e"])
def test_npm_locks_name_no_host(folder: Path) -> None:
    """With `resolved`, npm would ignore a mirror that the operator set."""
    lock = (folder / "package-lock.json").read_text()
    assert '"integrity"' in lock
    assert '"resolved"' not in lock


def test_caddys_image_is_planned_if_needed_and_kept_for_changing_back() -> None:
    assert "ingress" not in plan(BASE)
    built = plan(BASE, ingress="built")["ingress"]
    assert built["ref"].startswith("hub1/ingress:")
    assert built["parent"] == "base"
    other = plan(BASE, ingress="caddy:2")["ingress"]
    assert (other["ref"], other["kind"]) == ("caddy:2", "pulled")
    own = [f"hub1/ingress:{number * 16}" for number in "123"]
    listing = [f"{ref} <none>@<none>" for ref in own]
    assert plan_filters.images_surplus(plan(BASE), listing, own, "hub1", 2) == own[2:]
