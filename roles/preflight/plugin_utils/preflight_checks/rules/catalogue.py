"""Rules for `images_environments`, the catalogue of environments."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..problems import Finding, shown
from ..registry import Findings, Rules

rule = Rules()

SLUG = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
SLUG_LENGTH = 30
BUILT_IN = ("base", "datascience")
PATHS = {
    "default_url": (re.compile(r"/[^\s{}]*"), "path of a page", "/lab"),
    "home": (re.compile(r"/[A-Za-z0-9._/-]+"), "path of a folder in the container", "/home/jovyan"),
}
Entry = Mapping[str, Any]


def _ways(entry: Entry) -> list[str]:
    """Return how an entry says it is made; packages from pip and apt are one way."""
    ways = ["pip/apt"] if entry.get("pip") or entry.get("apt") else []
    return ways + [way for way in ("dockerfile", "image") if entry.get(way)]


def _about(index: int, entry: Entry) -> str:
    return f"images_environments[{index}] (slug {shown(entry.get('slug'))})"


@rule("images_environments")
def slugs(environments: list[Entry]) -> Findings:
    """Slugs become names of images and are kept with users' servers."""
    for index, entry in enumerate(environments):
        slug = str(entry.get("slug"))
        if not SLUG.fullmatch(slug) or len(slug) > SLUG_LENGTH:
            advice = f"use at most {SLUG_LENGTH} lower-case letters and digits, joined by single hyphens"
            yield Finding("its slug cannot name an image", advice, _about(index, entry))
    for slug, count in Counter(str(entry.get("slug")) for entry in environments).items():
        if count > 1:
            yield Finding(f"the slug {shown(slug)} is used {count} times", "give every environment a slug of its own")


@rule("images_environments")
def one_way_to_make_it(environments: list[Entry]) -> Findings:
    """Built in, packages on top of base, a Dockerfile, or a ready image."""
    for index, entry in enumerate(environments):
        ways = _ways(entry)
        about = _about(index, entry)
        if len(ways) > 1:
            yield Finding(f"is made in {len(ways)} ways at once: {', '.join(ways)}", "keep one of them", about)
        elif not ways and entry.get("slug") not in BUILT_IN:
            advice = f"add pip and/or apt, dockerfile or image (only {' and '.join(BUILT_IN)} are built in)"
            yield Finding("does not say how it is made", advice, about)
        elif entry.get("slug") == "base" and ways in (["pip/apt"], ["dockerfile"]):
            yield Finding("base is built in: packages and Dockerfiles stand on it", "choose another slug", about)


@rule("images_environments")
def paths_of_the_user(environments: list[Entry]) -> Findings:
    """A page below the server's address, a folder in the container."""
    for index, entry in enumerate(environments):
        for key, (form, words, example) in PATHS.items():
            if not form.fullmatch(str(entry.get(key, example))):
                yield Finding(f"{key} is no {words}", f"write one such as {example}", _about(index, entry))


@rule("images_environments", "playbook_dir")
def dockerfile_folder(environments: list[Entry], playbook_dir: str) -> Findings:
    """It is read on the machine that runs Ansible."""
    for index, entry in enumerate(environments):
        folder = Path(playbook_dir, entry.get("dockerfile") or "")
        if entry.get("dockerfile") and not (folder / "Dockerfile").is_file():
            yield Finding(
                f"there is no Dockerfile in {shown(str(folder))} on the machine that runs Ansible",
                'name a folder that holds one; beside the inventory it is "{{ inventory_dir }}/..."',
                _about(index, entry),
            )
