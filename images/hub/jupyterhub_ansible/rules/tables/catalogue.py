"""Rules for `images_environments`, the catalogue of environments, and for images that users may name themselves."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ..github import wrong_group
from ..mounts import Mounted, folder, wrong_mount, wrong_target, wrong_together
from ..packages import wrong_package, wrong_requirement
from ..problems import Finding, did_you_mean, shown
from ..ranges import CPUS_MIN, MEMORY_MIN_MB
from ..registry import Findings, Rules
from ..traits import mounted
from . import shared_folders
from .entries import SLUG, SLUG_LENGTH, Entry, numbered
from .folders import READ_FOR_MOUNTS, protected_by_settings

rule = Rules()

BUILT_IN = ("base", "datascience")
PATHS = {
    "default_url": (re.compile(r"/[^\s{}]*"), "the path of a page", "/lab"),
    "home": (re.compile(r"/[A-Za-z0-9._/-]+"), "the path of a folder in the container", "/home/jovyan"),
}
VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
# The Hub itself sets variables with these prefixes (jupyterhub.spawner.Spawner.get_env).
VARIABLES_OF_THE_HUB = ("JUPYTERHUB_", "JPY_")
IMAGE_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*([:/@][A-Za-z0-9*._:/@-]*)?")


def _sources(entry: Entry) -> list[str]:
    """Return where an entry's image comes from; pip and apt packages are one source."""
    sources = ["pip/apt"] if entry.get("pip") or entry.get("apt") else []
    return sources + [key for key in ("dockerfile", "image", "image_of") if entry.get(key)]


def _about(index: int, entry: Entry) -> str:
    return f"images_environments[{index}] (slug {shown(entry.get('slug'))})"


@rule("images_environments")
def slugs(environments: list[Entry]) -> Findings:
    """Slugs become part of image names and are stored with users' servers."""
    for index, entry in enumerate(environments):
        slug = str(entry.get("slug"))
        if not SLUG.fullmatch(slug) or len(slug) > SLUG_LENGTH:
            advice = f"use at most {SLUG_LENGTH} lower-case letters and digits, joined by single hyphens"
            yield Finding("the slug cannot be part of an image's name", advice, _about(index, entry))
    for slug, count in Counter(str(entry.get("slug")) for entry in environments).items():
        if count > 1:
            yield Finding(f"the slug {shown(slug)} is used {count} times", "give every environment a unique slug")


@rule("images_environments")
def one_source(environments: list[Entry]) -> Findings:
    """An image is built in, packages on top of base, a Dockerfile, a ready image, or another entry's."""
    for index, entry in enumerate(environments):
        sources = _sources(entry)
        about = _about(index, entry)
        if len(sources) > 1:
            yield Finding(f"has {len(sources)} sources of its image: {', '.join(sources)}", "keep one of them", about)
        elif not sources and entry.get("slug") not in BUILT_IN:
            advice = f"add pip and/or apt, dockerfile, image or image_of (only {' and '.join(BUILT_IN)} are built in)"
            yield Finding("does not say where its image comes from", advice, about)
        elif entry.get("slug") == "base" and sources in (["pip/apt"], ["dockerfile"]):
            yield Finding("base is built in, and other environments are built on it", "choose another slug", about)


@rule("images_environments")
def packages(environments: list[Entry]) -> Findings:
    """One package each; an option or a path would only fail, or surprise, in the build."""
    for index, entry in enumerate(environments):
        for key, wrong_in in (("pip", wrong_requirement), ("apt", wrong_package)):
            for number, package in enumerate(entry.get(key) or []):
                if wrong := wrong_in(package):
                    yield Finding(*wrong, about=f"{_about(index, entry)}.{key}[{number}]")


@rule("images_environments")
def paths(environments: list[Entry]) -> Findings:
    """A page below the server's URL, and a folder in the container."""
    for index, entry in enumerate(environments):
        for key, (form, description, example) in PATHS.items():
            if not form.fullmatch(str(entry.get(key, example))):
                yield Finding(f"{key} is not {description}", f"write one such as {example}", _about(index, entry))


@rule("images_environments", "playbook_dir")
def dockerfile_folder(environments: list[Entry], playbook_dir: str) -> Findings:
    """The folder is read on the machine that runs Ansible."""
    for index, entry in enumerate(environments):
        folder = Path(playbook_dir, entry.get("dockerfile") or "")
        if entry.get("dockerfile") and not (folder / "Dockerfile").is_file():
            yield Finding(
                f"there is no Dockerfile in {shown(str(folder))} on the machine that runs Ansible",
                'name a folder that has one; for a folder beside the inventory write "{{ inventory_dir }}/..."',
                _about(index, entry),
            )


@rule("images_environments")
def image_of_another(environments: list[Entry]) -> Findings:
    """The named entry must have an image of its own: chains would be hard to follow."""
    makers = {str(entry.get("slug")) for entry in environments if not entry.get("image_of")} | set(BUILT_IN)
    for index, entry in enumerate(environments):
        named = entry.get("image_of")
        if named and named not in makers:
            advice = did_you_mean(str(named), makers, f"name one of: {', '.join(sorted(makers))}")
            yield Finding(
                f"image_of does not name an environment with its own image: {shown(named)}",
                advice,
                _about(index, entry),
            )


@rule("images_environments")
def built_once(environments: list[Entry]) -> Findings:
    """With image_of, two profiles of the same content share one build and its disk space."""
    first: dict[tuple[str, ...], str] = {}
    for index, entry in enumerate(environments):
        content = tuple(str(entry.get(way) or "") for way in ("pip", "apt", "dockerfile"))
        if not any(content):
            continue
        if content in first:
            yield Finding(
                f"has the same content as {shown(first[content])} and would be built a second time",
                f"write image_of: {first[content]} instead",
                _about(index, entry),
            )
        first.setdefault(content, str(entry.get("slug")))


@rule("images_environments")
def sizes(environments: list[Entry]) -> Findings:
    """Slugs are stored with users' servers, and a server needs some memory to start at all."""
    for about, entry in _all(environments):
        slugs = [str(size.get("slug")) for size in entry.get("sizes") or []]
        for slug, count in Counter(slugs).items():
            if count > 1:
                yield Finding(
                    f"the size {shown(slug)} is defined {count} times", "give every size a unique slug", about
                )
            if not SLUG.fullmatch(slug) or len(slug) > SLUG_LENGTH:
                advice = f"use at most {SLUG_LENGTH} lower-case letters and digits, joined by single hyphens"
                yield Finding(f"a size has an invalid slug: {shown(slug)}", advice, about)
        for size in entry.get("sizes") or []:
            for key, least in (("memory_mb", MEMORY_MIN_MB), ("cpus", CPUS_MIN)):
                if size.get(key, least) < least:
                    what = f"{key} of the size {shown(size.get('slug'))} is out of range: {shown(size[key])}"
                    yield Finding(what, f"use at least {least}", about)


@rule("images_environments")
def gpus(environments: list[Entry]) -> Findings:
    """Docker counts them so."""
    for about, entry in _all(environments):
        if entry.get("gpus", 0) < -1:
            yield Finding(f"gpus is out of range: {shown(entry['gpus'])}", "write how many, or -1 for all", about)


@rule("images_environments", "hub_authenticator")
def groups_and_users(environments: list[Entry], authenticator: str) -> Findings:
    """A group that matches nobody would hide the environment from everyone."""
    for about, entry in _all(environments):
        for group in entry.get("groups") or []:
            if wrong := wrong_group(group, github=authenticator == "github"):
                yield Finding(f"groups: {wrong[0]}: {shown(group)}", wrong[1], about)
        for user in entry.get("users") or []:
            if user != user.strip():
                yield Finding(
                    f"users: has leading or trailing spaces: {shown(user)}", f"write {shown(user.strip())}", about
                )


@rule("images_environments")
def variables(environments: list[Entry]) -> Findings:
    """Docker must accept them, and the Hub must not need them for itself."""
    for about, entry in _all(environments):
        for variable, value in (entry.get("environment") or {}).items():
            name = f"environment.{variable}"
            if not VARIABLE.fullmatch(variable):
                advice = "use letters, digits and underscores, no digit first"
                yield Finding(f"{name} is not a valid environment variable name", advice, about)
            elif variable.startswith(VARIABLES_OF_THE_HUB):
                yield Finding(f"{name} is reserved for the Hub", "remove it", about)
            if not isinstance(value, str):
                yield Finding(f"{name} is not a string", "put the value in quotes", about)


@rule("images_environments", *READ_FOR_MOUNTS)
def mounts(environments: list[Entry], *of_machine: Any) -> Findings:
    """Nothing that would give a server control of the machine, the Hub's secrets or another user's home."""
    closed = protected_by_settings(*of_machine)
    for about, entry in _all(environments):
        taken = {folder(str(entry.get("home") or PATHS["home"][2]))}
        for mount in entry.get("mounts") or []:
            source, target = str(mount.get("source")), str(mount.get("target"))
            wrong = wrong_mount(source, closed, read_only=mount.get("read_only", True) is True)
            if wrong := wrong or wrong_target(target, taken):
                yield Finding(f"mounts: {wrong[0]}", wrong[1], about)
            taken.add(folder(target))


@rule("images_environments", "hub_traits??", f"{shared_folders.SETTING}??")
def mounts_beside_others(
    environments: list[Entry], classes: Mapping[str, Any] | None, folders: list[Entry] | None
) -> Findings:
    """All of them, whichever servers have them: users choose among environments, and have folders in each."""
    found = [
        Mounted(f"{about}: mounts", str(mount["source"]), mount.get("read_only", True) is False)
        for about, entry in _all(environments)
        for mount in entry.get("mounts") or []
    ]
    found += [
        Mounted(f"{about}: source", str(entry["source"]), shared_folders.is_writable(entry))
        for about, entry in numbered(shared_folders.SETTING, folders or [])
        if entry.get("source")
    ]
    found += [each._replace(about=f"hub_traits.{each.about}") for each in mounted(classes or {})]
    for each, what, fix in wrong_together(found):
        about, separator, mounts = each.about.partition(": ")
        yield Finding(f"{mounts}{separator}{what}", fix, about)


def _all(environments: list[Entry]) -> Iterator[tuple[str, Entry]]:
    return numbered("images_environments", environments)


@rule("hub_free_images", "hub_authenticator")
def free_images(groups: Mapping[str, Any], authenticator: str) -> Findings:
    """Which images a group may name; the registry must be spelt out, since anyone can run one."""
    for group, patterns in groups.items():
        about = f"hub_free_images.{group}"
        if wrong := wrong_group(group, github=authenticator == "github"):
            yield Finding(f"{wrong[0]}: {shown(group)}", wrong[1], about)
        if not isinstance(patterns, list) or not patterns or not all(isinstance(each, str) for each in patterns):
            yield Finding("is not a list of patterns", 'write a list, such as ["registry.example.org/team/*"]', about)
            continue
        for pattern in patterns:
            if not IMAGE_PATTERN.fullmatch(pattern):
                advice = "begin with the full name of the registry or the image; * matches anything but a slash"
                yield Finding(f"is not a pattern for images: {shown(pattern)}", advice, about)
