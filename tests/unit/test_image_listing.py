"""The module that lists images and finds versions in them, with a stand-in for docker and the real script."""

from __future__ import annotations

import json
import os
import platform
import stat
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from project import run_module

from plugins.modules import image_listing

# Has the images in the file `images`; a container prints the file `says`, and is counted.
DOCKER = """#!/bin/sh
cd "$(dirname "$0")"
case "$*" in run*"=id"*) echo 1000; exit ;; esac
case "$1 $2" in
  "image ls") grep -o '"Id": *"[^"]*"' images | cut -d'"' -f4 ;;
  "image inspect")
    [ "$3" = --format ] || exec cat images
    echo "$5" >> asked
    [ "$5" = docker.io/x/base:1 ] && echo sha256:a ;;
  run*) cat > /dev/null; echo run >> runs; cat says; exit "$(cat code)" ;;
esac
"""
IMAGES: list[dict[str, Any]] = [
    {"Id": "sha256:a", "Created": "2026-01-01T10:00:00Z", "RepoTags": ["x/base:1", "x/twin:1"], "RepoDigests": []},
    {"Id": "sha256:b", "Created": "2026-01-02T10:00:00Z", "RepoTags": ["x/other:1"], "RepoDigests": ["y/d@sha256:e"]},
]
LISTING = [
    "x/other:1 x/other@<none>",
    "y/d:<none> y/d@sha256:e",
    "x/base:1 x/base@<none>",
    "x/twin:1 x/twin@<none>",
]
FOUND = {"programs": {"Python": "3.13.5"}, "packages": {}, "debian": {}, "uid": 1000}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "docker").write_text(DOCKER)
    (tmp_path / "docker").chmod(0o755)
    (tmp_path / "images").write_text(json.dumps(IMAGES))
    says(tmp_path, json.dumps(FOUND))
    return tmp_path


def says(folder: Path, text: str, code: int = 0) -> None:
    (folder / "says").write_text(text)
    (folder / "code").write_text(str(code))


def run(folder: Path, *refs: str, check: bool = False, path: str | None = None) -> Any:
    arguments = {"refs": list(refs), "path": str(folder / "builds/contents.json"), "_ansible_check_mode": check}
    search = f"{folder}:{os.environ['PATH']}" if path is None else path
    result = run_module("image_listing", arguments, PATH=search)
    assert not result["changed"]
    assert result["listing"] == (LISTING if path is None else [])
    return result["contents"]


def runs(folder: Path) -> int:
    return (folder / "runs").read_text().count("run") if (folder / "runs").exists() else 0


def test_an_image_is_inspected_once(folder: Path) -> None:
    expected = {"x/base:1": FOUND, "x/twin:1": FOUND}
    assert run(folder, "x/base:1", "x/twin:1") == expected
    assert runs(folder) == 1, "two names of one image"
    assert stat.S_IMODE((folder / "builds/contents.json").stat().st_mode) == 0o600
    assert stat.S_IMODE((folder / "builds").stat().st_mode) == 0o700
    assert run(folder, "x/base:1", "x/twin:1") == expected
    assert runs(folder) == 1


def test_own_images_have_their_tag_in_a_label(folder: Path) -> None:
    """Images that an operator builds on ours inherit the label."""
    made = {"Config": {"Labels": {image_listing.LABEL: "11aa"}}, "RepoDigests": None, "Created": None}
    images = [
        {**made, "Id": "sha256:a", "RepoTags": ["x/base:11aa", "y/base:11aa", "x/base:mine"]},
        {**made, "Id": "sha256:b", "RepoTags": ["x/mine:22bb"]},
        {**made, "Id": "sha256:c", "RepoTags": None},
        {"Id": "sha256:d", "Config": None, "RepoTags": ["x/none:None"], "RepoDigests": []},
    ]
    (folder / "images").write_text(json.dumps(images))
    arguments = {"refs": [], "path": str(folder / "contents.json")}
    result = run_module("image_listing", arguments, PATH=f"{folder}:{os.environ['PATH']}")
    assert result["own"] == ["x/base:11aa", "y/base:11aa"]


def test_digests_are_those_of_the_repository(folder: Path) -> None:
    tags, digests = ["a:5000/x:1", "y:1"], ["a:5000/x@sha256:1", "a:5000/x@sha256:2", "z@sha256:1"]
    image = {"RepoTags": tags, "RepoDigests": digests}
    assert list(image_listing.lines(image)) == [
        "a:5000/x:1 a:5000/x@sha256:1",
        "a:5000/x:1 a:5000/x@sha256:2",
        "y:1 y@<none>",
        "z:<none> z@sha256:1",
    ]


def test_the_engine_resolves_longer_names(folder: Path) -> None:
    assert run(folder, "docker.io/x/base:1", "x/other:1", "y/d@sha256:e").keys() == {
        "docker.io/x/base:1",
        "x/other:1",
        "y/d@sha256:e",
    }
    assert (folder / "asked").read_text().split() == ["docker.io/x/base:1"]


def test_an_engine_without_images(folder: Path) -> None:
    (folder / "images").write_text("[]")
    arguments = {"refs": ["x/base:1"], "path": str(folder / "contents.json")}
    result = run_module("image_listing", arguments, PATH=f"{folder}:{os.environ['PATH']}")
    assert (result["listing"], result["own"], result["contents"]) == ([], [], {})


def test_missing_images_are_forgotten(folder: Path) -> None:
    run(folder, "x/base:1", "x/other:1")
    run(folder, "x/other:1")
    assert json.loads((folder / "builds/contents.json").read_text()).keys() == {"sha256:b"}


def test_an_image_that_is_not_there_yet(folder: Path) -> None:
    assert run(folder, "x/new:1", "x/other:1") == {"x/other:1": FOUND}


def test_a_dry_run_does_not_write_the_cache(folder: Path) -> None:
    assert run(folder, "x/base:1", check=True) == {"x/base:1": FOUND}
    assert not (folder / "builds").exists()


def test_no_engine_yet(folder: Path) -> None:
    assert run(folder, "x/base:1", check=True, path="/nowhere") == {}


def test_engine_that_does_not_answer(folder: Path) -> None:
    (folder / "docker").write_text("#!/bin/sh\necho 'Cannot connect to the Docker daemon' >&2\nexit 1\n")
    arguments = {"refs": [], "path": str(folder / "contents.json")}
    search = f"{folder}:{os.environ['PATH']}"
    told = run_module("image_listing", arguments, PATH=search)
    assert told["failed"]
    assert told["msg"].startswith("The engine's images cannot be listed: Cannot connect to the Docker daemon")
    told = run_module("image_listing", {**arguments, "_ansible_check_mode": True}, PATH=search)
    assert (told["listing"], told["own"], told["contents"]) == ([], [], {})


@pytest.mark.parametrize(("text", "code"), [("", 127), ("no json", 0), ("5", 0)])
def test_an_image_without_a_result_is_inspected_again(folder: Path, text: str, code: int) -> None:
    says(folder, text, code)
    assert run(folder, "x/base:1") == {"x/base:1": {}}
    says(folder, "a warning\n" + json.dumps(FOUND))
    assert run(folder, "x/base:1") == {"x/base:1": FOUND}


def test_images_that_run_as_root_are_refused(folder: Path) -> None:
    """Also if an older version cached the image without the user id."""
    (folder / "builds").mkdir()
    kept = {"sha256:a": {key: value for key, value in FOUND.items() if key != "uid"}}
    (folder / "builds/contents.json").write_text(json.dumps(kept))
    for _ in range(2):
        says(folder, json.dumps({**FOUND, "uid": 0}))
        arguments = {"refs": ["x/base:1", "x/new:1"], "path": str(folder / "builds/contents.json")}
        told = run_module("image_listing", arguments, PATH=f"{folder}:{os.environ['PATH']}")
        assert told["failed"]
        assert told["msg"].startswith("images_environments: x/base:1: runs as root")
        assert "USER 1000" in told["msg"]


def test_root_without_python(folder: Path) -> None:
    says(folder, "", 127)
    (folder / "docker").write_text(DOCKER.replace("echo 1000", "echo 0"))
    arguments = {"refs": ["x/base:1"], "path": str(folder / "builds/contents.json")}
    assert run_module("image_listing", arguments, PATH=f"{folder}:{os.environ['PATH']}")["failed"]


def test_damaged_file(folder: Path) -> None:
    (folder / "builds").mkdir()
    (folder / "builds/contents.json").write_text("[1")
    assert run(folder, "x/base:1") == {"x/base:1": FOUND}


def test_the_look_inside() -> None:
    """Run on this machine, it finds what is installed here."""
    done = subprocess.run([sys.executable, "-"], input=image_listing.LOOK, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    assert found["programs"]["Python"] == platform.python_version()
    assert found["packages"]["jupyterhub"] == metadata.version("jupyterhub")
    assert found["packages"]["types-pyyaml"] == metadata.version("types-PyYAML")


def test_programs_and_debian(tmp_path: Path) -> None:
    for name, text in {
        "R": "R version 4.5.0 (2025-04-11) -- 'How About a Twenty-Six'",
        "julia": "julia version 1.12.1",
        "dpkg-query": "r-base\t4.5.0-3\nlibc6\t2.41-12",
    }.items():
        (tmp_path / name).write_text(f'#!/bin/sh\nprintf "%b\\n" "{text}"\n')
        (tmp_path / name).chmod(0o755)
    done = subprocess.run(
        [sys.executable, "-"],
        input=image_listing.LOOK,
        env={"PATH": f"{tmp_path}:/bin:/usr/bin"},
        capture_output=True,
        text=True,
        check=True,
    )
    found = json.loads(done.stdout)
    assert (found["programs"]["R"], found["programs"]["Julia"]) == ("4.5.0", "1.12.1")
    assert found["debian"] == {"r-base": "4.5.0-3", "libc6": "2.41-12"}
