"""Rules for `images_environments`, the catalogue of environments, and for images that users name themselves."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ..github import wrong_group
from ..mounts import folder, wrong_source, wrong_target
from ..problems import Finding, did_you_mean, shown
from ..ranges import CPUS_MIN, MEMORY_MIN_MB
from ..registry import Findings, Rules
from .folders import NOT_TO_BE_MOUNTED, not_to_be_mounted

rule = Rules()

SLUG = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
SLUG_LENGTH = 30
BUILT_IN = ("base", "datascience")
PATHS = {
    "default_url": (re.compile(r"/[^\s{}]*"), "path of a page", "/lab"),
    "home": (re.compile(r"/[A-Za-z0-9._/-]+"), "path of a folder in the container", "/home/jovyan"),
}
VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
# By these the Hub tells a server who it is (jupyterhub.spawner.Spawner.get_env).
VARIABLES_OF_THE_HUB = ("JUPYTERHUB_", "JPY_")
IMAGE_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*([:/@][A-Za-z0-9*._:/@-]*)?")
Entry = Mapping[str, Any]


def _ways(entry: Entry) -> list[str]:
    """Return how an entry says it is made; packages from pip and apt are one way."""
    ways = ["pip/apt"] if entry.get("pip") or entry.get("apt") else []
    return ways + [way for way in ("dockerfile", "image", "image_of") if entry.get(way)]


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
    """Built in, packages on top of base, a Dockerfile, a ready image, or another entry's."""
    for index, entry in enumerate(environments):
        ways = _ways(entry)
        about = _about(index, entry)
        if len(ways) > 1:
            yield Finding(f"is made in {len(ways)} ways at once: {', '.join(ways)}", "keep one of them", about)
        elif not ways and entry.get("slug") not in BUILT_IN:
            advice = f"add pip and/or apt, dockerfile, image or image_of (only {' and '.join(BUILT_IN)} are built in)"
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
def dockerfilefolder(environments: list[Entry], playbook_dir: str) -> Findings:
    """It is read on the machine that runs Ansible."""
    for index, entry in enumerate(environments):
        folder = Path(playbook_dir, entry.get("dockerfile") or "")
        if entry.get("dockerfile") and not (folder / "Dockerfile").is_file():
            yield Finding(
                f"there is no Dockerfile in {shown(str(folder))} on the machine that runs Ansible",
                'name a folder that holds one; beside the inventory it is "{{ inventory_dir }}/..."',
                _about(index, entry),
            )


@rule("images_environments")
def image_of_another(environments: list[Entry]) -> Findings:
    """The entry that it names makes the image; one step, so that it is plain which that is."""
    makers = {str(entry.get("slug")) for entry in environments if not entry.get("image_of")} | set(BUILT_IN)
    for index, entry in enumerate(environments):
        named = entry.get("image_of")
        if named and named not in makers:
            advice = did_you_mean(str(named), makers, f"name one of: {', '.join(sorted(makers))}")
            yield Finding(f"image_of names no entry that makes an image: {shown(named)}", advice, _about(index, entry))


@rule("images_environments")
def built_once(environments: list[Entry]) -> Findings:
    """The same content is one image: two profiles of it cost neither a build nor disk."""
    first: dict[tuple[str, ...], str] = {}
    for index, entry in enumerate(environments):
        content = tuple(str(entry.get(way) or "") for way in ("pip", "apt", "dockerfile"))
        if not any(content):
            continue
        if content in first:
            yield Finding(
                f"is made of the same as {shown(first[content])}, and would be built a second time",
                f"write image_of: {first[content]} instead",
                _about(index, entry),
            )
        first.setdefault(content, str(entry.get("slug")))


@rule("images_environments")
def sizes(environments: list[Entry]) -> Findings:
    """Slugs are kept with users' servers; a server needs some memory to start at all."""
    for about, entry in _all(environments):
        slugs = [str(size.get("slug")) for size in entry.get("sizes") or []]
        for slug, count in Counter(slugs).items():
            if count > 1:
                yield Finding(
                    f"the size {shown(slug)} is there {count} times", "give every size a slug of its own", about
                )
            if not SLUG.fullmatch(slug) or len(slug) > SLUG_LENGTH:
                advice = f"use at most {SLUG_LENGTH} lower-case letters and digits, joined by single hyphens"
                yield Finding(f"the slug of a size is none: {shown(slug)}", advice, about)
        for size in entry.get("sizes") or []:
            for key, least in (("memory_mb", MEMORY_MIN_MB), ("cpus", CPUS_MIN)):
                if size.get(key, least) < least:
                    what = f"{key} of the size {shown(size.get('slug'))} is out of range: {shown(size[key])}"
                    yield Finding(what, f"use at least {least}", about)


@rule("images_environments")
def gpus(environments: list[Entry]) -> Findings:
    """Docker's count."""
    for about, entry in _all(environments):
        if entry.get("gpus", 0) < -1:
            yield Finding(f"gpus is out of range: {shown(entry['gpus'])}", "write how many, or -1 for all", about)


@rule("images_environments", "hub_authenticator")
def who_may_use_it(environments: list[Entry], authenticator: str) -> Findings:
    """A group that is never met shuts everybody out."""
    for about, entry in _all(environments):
        for group in entry.get("groups") or []:
            if wrong := wrong_group(group, github=authenticator == "github"):
                yield Finding(f"groups: {wrong[0]}: {shown(group)}", wrong[1], about)
        for user in entry.get("users") or []:
            if user != user.strip():
                yield Finding(f"users: has a space around it: {shown(user)}", f"write {shown(user.strip())}", about)


@rule("images_environments")
def variables(environments: list[Entry]) -> Findings:
    """What Docker takes for an environment variable, and the Hub does not need for itself."""
    for about, entry in _all(environments):
        for variable, value in (entry.get("environment") or {}).items():
            name = f"environment.{variable}"
            if not VARIABLE.fullmatch(variable):
                advice = "use letters, digits and underscores, no digit first"
                yield Finding(f"{name} is no name for one", advice, about)
            elif variable.startswith(VARIABLES_OF_THE_HUB):
                yield Finding(f"{name} is the Hub's own", "remove it", about)
            if not isinstance(value, str):
                yield Finding(f"{name} is not a text", "put the value in quotes", about)


@rule(
    "images_environments",
    *NOT_TO_BE_MOUNTED,
)
def mounts(environments: list[Entry], *of_machine: Any) -> Findings:
    """Nothing that would give a server the machine, the Hub's secrets or somebody's home."""
    ours = not_to_be_mounted(*of_machine)
    for about, entry in _all(environments):
        taken = {folder(str(entry.get("home") or PATHS["home"][2]))}
        for mount in entry.get("mounts") or []:
            source, target = str(mount.get("source")), str(mount.get("target"))
            wrong = wrong_source(source, ours, read_only=mount.get("read_only", True) is True)
            if wrong := wrong or wrong_target(target, taken):
                yield Finding(f"mounts: {wrong[0]}", wrong[1], about)
            taken.add(folder(target))


def _all(environments: list[Entry]) -> Iterator[tuple[str, Entry]]:
    return ((_about(index, entry), entry) for index, entry in enumerate(environments))


@rule("hub_free_images", "hub_authenticator")
def free_images(groups: Mapping[str, Any], authenticator: str) -> Findings:
    """Who may name an image, and which: of a registry that is written out, since anybody can have one."""
    for group, patterns in groups.items():
        about = f"hub_free_images.{group}"
        if wrong := wrong_group(group, github=authenticator == "github"):
            yield Finding(f"{wrong[0]}: {shown(group)}", wrong[1], about)
        if not isinstance(patterns, list) or not patterns or not all(isinstance(each, str) for each in patterns):
            yield Finding("is not a list of patterns", 'write a list, such as ["registry.example.org/team/*"]', about)
            continue
        for pattern in patterns:
            if not IMAGE_PATTERN.fullmatch(pattern):
                advice = "begin with the registry's or the image's whole name; * stands for anything but a slash"
                yield Finding(f"is not a pattern of images: {shown(pattern)}", advice, about)
