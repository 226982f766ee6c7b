"""The Dockerfile of compose/: the stages of all images, made from the Dockerfiles of images/."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from jupyterhub_ansible.compose import images

from plugins.filter import image_plan

PROJECT = Path(__file__).resolve().parents[1]
FILES = PROJECT / "images"
NAME = "jupyterhub"


class Stage(NamedTuple):
    """A Dockerfile of images/: its folder, the stage that it is based on, and the name of its last stage."""

    source: str
    parent: str
    name: str
    args: Mapping[str, str] = {}
    labels: Mapping[str, str] = {}
    files: str = ""
    """A second folder to copy files from."""


def copy_line(folders: Sequence[str], line: str) -> str:
    """Return a COPY line with its paths relative to the project, which is the build context here."""
    *sources, target = line.removeprefix("COPY ").split()
    paths = [each if each.startswith("--") else find(folders, each) for each in sources]
    return " ".join(["COPY", *paths, target])


def find(folders: Sequence[str], name: str) -> str:
    """Return the path of a file in the first of these folders of images/ that has it."""
    for folder in folders:
        path = FILES / folder / name
        if path.exists():
            return path.relative_to(PROJECT).as_posix() + ("/" if name.endswith("/") else "")
    raise SystemExit(f"{folders[0]}/Dockerfile copies {name}, which is in none of {', '.join(folders)}")


def stages(stage: Stage) -> Iterator[str]:
    """Yield the lines of a Dockerfile as stages of a larger one."""
    names: dict[str, str] = {}
    lines = (FILES / stage.source / "Dockerfile").read_text().splitlines()
    folders = [name for name in (stage.source, stage.files, ".") if name]
    last = max(number for number, line in enumerate(lines) if line.startswith("FROM "))
    for number, line in enumerate(lines):
        # That label is for removing the classic builder's intermediate images; BuildKit leaves none.
        if line == "ARG BASE" or line.startswith("LABEL jupyterhub-ansible.stage="):
            continue
        if begins := re.fullmatch(r"FROM \$\{BASE\}(?: AS (\w+))?", line):
            new = stage.name if number == last else f"{stage.name}-{begins[1]}"
            names[begins[1] or ""] = new
            yield f"FROM {stage.parent} AS {new}"
        elif (begins := re.fullmatch(r"FROM (\w+)(?: AS (\w+))?", line)) and begins[1] in names:
            names[begins[2] or ""] = new = stage.name if number == last else f"{stage.name}-{begins[2]}"
            yield f"FROM {names[begins[1]]} AS {new}"
        elif line.startswith("COPY --from="):
            yield re.sub(r"--from=(\w+)", lambda stage: f"--from={names[stage[1]]}", line)
        elif line.startswith("COPY "):
            yield copy_line(folders, line)
        elif given := re.fullmatch(r"ARG (\w+)=.*", line):
            yield f"ARG {given[1]}={stage.args[given[1]]}" if given[1] in stage.args else line
        elif line.startswith("FROM "):
            raise SystemExit(f"{stage.source}/Dockerfile: bin/compose_dockerfile.py does not understand: {line}")
        else:
            yield line
    if stage.labels:
        # Under another name than the variable's, which Coolify would declare in every stage, so that nothing is cached.
        yield f"ARG PROJECT={NAME}"
        yield "LABEL " + " \\\n      ".join(f"{name}={value}" for name, value in stage.labels.items())


def base_stage(refresh_date: str) -> Iterator[str]:
    """Yield the lines of the base image, which is based on the distribution."""
    for line in (FILES / "base/Dockerfile").read_text().splitlines():
        if line == "FROM ${OS}":
            yield "FROM ${OS} AS base"
            yield "# A later date has the distribution's security updates fetched."
            yield f"ARG REFRESHED={refresh_date}"
        elif line.startswith("COPY "):
            yield copy_line(["base"], line)
        else:
            yield line


def labels(slug: str, digest: str) -> dict[str, str]:
    """Return the labels by which the Hub finds an image, and which keep Coolify's clean-up from removing it."""
    return {
        "jupyterhub-ansible.project": "${PROJECT}",
        "jupyterhub-ansible.kind": "environment",
        images.ENVIRONMENT: slug,
        images.HASH: digest,
        "coolify.managed": "true",
    }


def dockerfile(plan: Mapping[str, Mapping[str, Any]], slugs: Sequence[str], refresh_date: str) -> str:
    """Return the stages of all images.

    Args:
        plan: what the filter images_plan returned.
        slugs: the environments whose images are built.
        refresh_date: the setting images_refresh_date.
    """
    made = [
        Stage("proxy", "base", "proxy-image"),
        Stage("hub", "base", "hub-image"),
        Stage("singleuser", "base", "env-base", labels=labels("base", plan["env-base"]["hash"])),
    ]
    for slug in slugs:
        if slug != "base":
            image = plan[f"env-{slug}"]
            named = labels(slug, image["hash"])
            made.append(Stage(image_plan.ON_TOP, "env-base", f"env-{slug}", image["args"], named, files=slug))
    lines = list(base_stage(refresh_date))
    for stage in made:
        lines += ["", *stages(stage)]
    return "\n".join(lines) + "\n"
