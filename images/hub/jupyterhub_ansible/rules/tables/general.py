"""Names, folders, networks and images."""

from __future__ import annotations

import re
from pathlib import Path

from .. import ranges
from ..problems import Finding, shown
from ..registry import Findings, Rules

rule = Rules()

ADDRESSES = (
    "images_pip_index_url",
    "images_npm_registry",
    "images_apt_mirror",
    "images_http_proxy",
    "images_https_proxy",
)
HUB_FILES_MAX_MB = 10


@rule("jupyterhub_name")
def name(value: str) -> Findings:
    """Limited by Docker's names, by the 15 characters of a bridge's name (`br-<name>`), and by DNS."""
    if not re.fullmatch(r"[a-z]([a-z0-9-]{0,10}[a-z0-9])?", value):
        yield Finding(
            f"is not a valid prefix for names of containers and networks: {shown(value)}",
            "use 1 to 12 lower-case letters, digits and hyphens, beginning with a letter and not ending in a hyphen",
        )


@rule("jupyterhub_name")
def name_cannot_collide(value: str) -> Findings:
    """Server `b-user-c` of a Hub `a` would have the same name as server `c` of a Hub `a-user-b`."""
    if "user" in value.split("-")[1:]:
        yield Finding('contains "-user", so names of two Hubs could collide', "choose another name")


@rule("jupyterhub_root")
def root(value: str) -> Findings:
    """Its ownership and modes are changed, so nothing else may use this folder."""
    parts = value.split("/")
    if ".." in parts or len([part for part in parts if part not in ("", ".")]) < 2:
        yield Finding(f"is not a dedicated folder: {shown(value)}", "use one such as /srv/jupyterhub")


@rule("network_users_subnet")
def users_subnet(value: str) -> Findings:
    """It must be private, and large enough for two containers and many servers."""
    if wrong := ranges.wrong_users_subnet(value):
        yield Finding(*wrong)


@rule("images_refresh_date")
def refresh_date(value: str) -> Findings:
    """It is part of the images' hashes."""
    if not re.fullmatch(r"\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])", value):
        yield Finding(f"is not a date: {shown(value)}", 'write it in quotes as "YYYY-MM-DD"')


@rule("images_apt_mirror")
def apt_mirror(value: str) -> Findings:
    """The images keep it, for packages that are installed later."""
    if "@" in value:
        yield Finding(
            "has a password, which would be stored in all images",
            "use a mirror without a password, or set images_http_proxy",
        )


@rule("images_hub_files", "playbook_dir")
def hub_files(value: str, playbook_dir: str) -> Findings:
    """The folder is read on the machine that runs Ansible, and sent to the target as a whole."""
    folder = Path(playbook_dir, value)
    if not folder.is_dir():
        fix = 'name a folder that exists; for one beside the inventory write "{{ inventory_dir }}/hub_files"'
        yield Finding(f"there is no folder {shown(str(folder))} on the machine that runs Ansible", fix)
        return
    size = sum(each.stat().st_size for each in folder.rglob("*") if each.is_file())
    if size > HUB_FILES_MAX_MB * 1024**2:
        fix = f"leave in it what the Hub itself needs, at most {HUB_FILES_MAX_MB} MB"
        yield Finding(f"is a folder of {size // 1024**2} MB, which would be part of the Hub's image", fix)


@rule("images_base")
def base_image(value: str) -> Findings:
    """Docker must accept it as a reference."""
    if not re.fullmatch(r"[\w./:@-]+", value):
        yield Finding(f"is not an image reference: {shown(value)}", "write one such as debian:trixie-slim")


def web_address(value: str) -> Findings:
    """A scheme and a host."""
    if not re.match(r"https?://[^/\s]", value):
        yield Finding("is not an http:// or https:// address", "write the whole address, beginning with https://")


for setting in ADDRESSES:
    rule(setting)(web_address)
