"""What may be mounted into users' servers, and where."""

import re
from collections.abc import Collection, Iterable
from typing import NamedTuple

from .words import shown

# Docker joins source, target and mode by colons; in braces would be fields.
FOLDER = re.compile(r"(/[^/:{}\\\x00-\x1f\x7f]+)+/?")
VOLUME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
# What would give a server the machine: its root, its devices and processes, the engine's socket and files, what cron
# runs, other engines' secrets.
NO_SOURCES = (
    "/",
    "/boot",
    "/dev",
    "/etc",
    "/proc",
    "/root",
    "/run",
    "/sys",
    "/var/lib/containerd",
    "/var/lib/docker",
    "/var/lib/kubelet",
    "/var/lib/rancher",
    "/var/run",
    "/var/spool",
)
# Folders with keys, wherever they are.
KEYS = {".ssh", ".gnupg"}
# What is in there for every program to read.
READABLE = ("/etc/krb5.conf", "/etc/localtime", "/etc/ssl/certs", "/etc/timezone")
# The keys of whoever administers it, and its programs; single folders in there may be meant.
NOT_AS_A_WHOLE = ("/home", "/bin", "/lib", "/lib64", "/sbin", "/usr")
# Where Coolify has its keys of the machine; what holds it is closed where there is Coolify, as many have data in /data.
COOLIFY = "/data/coolify"
# What the container itself, or the server in it, is made of.
NO_TARGETS = ("/", "/bin", "/dev", "/etc", "/lib", "/opt/jupyter", "/proc", "/sbin", "/sys", "/usr")


class Ours(NamedTuple):
    """What is not to be mounted on this machine."""

    homes: tuple[str, ...] = ()
    """How the names of users' volumes begin."""
    volumes: tuple[str, ...] = ()
    """Other volumes by name."""
    folders: tuple[str, ...] = ()
    """Folders, with all in them."""


def ours(project: str, template: str | None, folders: Iterable[str]) -> Ours:
    """Return what is not to be mounted of a Hub; `template` names the homes, where they are another Hub's."""
    homes = (f"{project}-user-", (template or "").partition("{")[0])
    # Where the Hub has its database, and homes.archives_name.
    volumes = (f"{project}-hub", f"{project}-deleted-homes")
    return Ours(tuple(filter(None, homes)), volumes, tuple(filter(None, folders)))


def wrong_source(source: str, closed: Ours, *, read_only: bool = False) -> tuple[str, str] | None:
    """Return what is wrong with what is to be mounted, a folder of the machine or a volume, and the fix."""
    if not source.startswith("/"):
        if not VOLUME.fullmatch(source):
            advice = "write an absolute path, or letters, digits, dots, hyphens and underscores"
            return f"the source is neither a folder nor a volume: {shown(source)}", advice
        if source in closed.volumes or source.startswith(closed.homes):
            return f"{shown(source)} may be a user's home, or the Hub's", "take another volume"
    elif source != "/" and not is_folder(source):
        return f"the source is not a path of a folder: {shown(source)}", "write it without . and .., colons and braces"
    elif any(folder(source) == each or _is_below(source, each) for each in READABLE):
        return None if read_only else (f"{shown(source)} is the machine's own", "mount it read-only")
    elif _is_closed(folder(source), closed.folders):
        what = f"{shown(source)} would give servers the machine"
        if folder(source) != "/" and _meet(folder(source), COOLIFY):
            return what, f"mount a folder of its own: {COOLIFY} is where Coolify keeps its keys of the machine"
        return what, "copy it to a folder of your own" if _is_below(source, "/etc") else "mount a folder of its own"
    return None


def _is_closed(source: str, folders: Collection[str]) -> bool:
    if source in (*NOT_AS_A_WHOLE, COOLIFY) or _is_below(source, COOLIFY) or KEYS & {*source.split("/")}:
        return True
    return any(_meet(source, each) for each in (*NO_SOURCES, *folders))


def may_be_closed(beginning: str, closed: Ours) -> bool:
    """Return whether the name of a volume with this beginning, and a user's name after it, may be a closed one."""
    return beginning.startswith(closed.homes) or any(
        each.startswith(beginning) for each in (*closed.homes, *closed.volumes)
    )


def may_be_of_machine(beginning: str, closed: Ours) -> bool:
    """Return whether a path with this beginning, and a user's name after it, may be one of the machine's folders."""
    return beginning.rpartition("/")[0] in ("", "/var", "/var/lib", *NOT_AS_A_WHOLE) or any(
        each.startswith(beginning) for each in (*NO_SOURCES, COOLIFY, *closed.folders)
    )


def wrong_target(target: str, taken: Collection[str]) -> tuple[str, str] | None:
    """Return what is wrong with where it is to be mounted, and the fix; `taken` are folders that are in use."""
    if not is_folder(target):
        return f"the target is not a path of a folder: {shown(target)}", "write one such as /data"
    if folder(target) in (*taken, *NO_TARGETS):
        return f"something else is at {shown(target)}", "write another one, such as /data"
    if any(_is_below(each, folder(target)) for each in taken):
        return f"{shown(target)} would hide what is mounted below it", "write another one"
    return None


def is_folder(path: str) -> bool:
    """Return whether this is an absolute path that leads nowhere else."""
    return bool(FOLDER.fullmatch(path)) and not {".", ".."} & set(path.split("/"))


def folder(path: str) -> str:
    """Return a folder's path, always written alike."""
    return path.rstrip("/") or "/"


def _is_below(path: str, of: str) -> bool:
    """Return whether a path is inside a folder."""
    return path.startswith(f"{of.rstrip('/')}/") and path != of


def _meet(source: str, other: str) -> bool:
    """Return whether a folder is, holds or is inside another; in the root is everything."""
    return source == other or _is_below(other, source) or (other != "/" and _is_below(source, other))
