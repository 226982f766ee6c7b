"""What may be mounted into users' servers, and where."""

import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import NamedTuple

from .formatting import shown

# Docker joins source, target and mode by colons; braces would be the spawner's fields.
FOLDER = re.compile(r"(/[^/:{}\\\x00-\x1f\x7f]+)+/?")
VOLUME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
# Would give a server control of the machine: its root, devices and processes, the engine's socket and files, cron's
# jobs, other engines' secrets.
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
# Meant for every program to read.
READABLE = ("/etc/krb5.conf", "/etc/localtime", "/etc/ssl/certs", "/etc/timezone")
# These hold administrators' keys and the system's programs; single folders in them may be mounted.
NOT_AS_A_WHOLE = ("/home", "/bin", "/lib", "/lib64", "/sbin", "/usr")
# Coolify's SSH keys to the machine.  /data is refused only where Coolify may be, since many keep data there.
COOLIFY = "/data/coolify"
# Parts of the container itself, or of the server in it.
NO_TARGETS = ("/", "/bin", "/dev", "/etc", "/lib", "/opt/jupyter", "/proc", "/sbin", "/sys", "/usr")


# In names of users as volumes and folders have them: ours (naming.user_slug) and DockerSpawner's.
_IN_NAMES = re.compile(r"[a-z0-9-]*")

SHARED = "/srv/shared"
"""Where servers have the shared folders; our images link it into the home (jupyterhub_shared in them)."""
SERVER_UID = 1000
"""As which servers run, so that whoever may write to a shared folder may change everything in it."""
USERNAME = "{username}"
"""The field of a source or an environment variable that stands for the user (spawner.naming.user_slug)."""


FIELD = re.compile(r"\{[^{}]*\}")


class Mounted(NamedTuple):
    """What servers mount, and where that is set."""

    about: str
    source: str
    writable: bool
    by_traits: bool = False
    """DockerSpawner writes names of users in another way than we do."""


class Protected(NamedTuple):
    """What users' servers of this machine must not mount."""

    homes: tuple[str, ...] = ()
    """Prefixes of the names of users' volumes and of shared folders."""
    volumes: tuple[str, ...] = ()
    """Other volumes by name."""
    folders: tuple[str, ...] = ()
    """Folders, including their content."""


def protected(project: str, template: str | None, folders: Iterable[str]) -> Protected:
    """Return what servers must not mount: a Hub's volumes, and these folders.

    Args:
        project: the Hub's name.
        template: hub_volume_name_template, whose homes may be those of another Hub.
        folders: further folders.
    """
    homes = (f"{project}-user-", shared_prefix(project), (template or "").partition("{")[0])
    # The Hub's database, and homes.archives_name.
    volumes = (f"{project}-hub", f"{project}-audit", f"{project}-deleted-homes")
    return Protected(tuple(filter(None, homes)), volumes, tuple(filter(None, folders)))


def shared_prefix(project: str) -> str:
    """Return what the names of shared folders' volumes begin with."""
    return f"{project}--shared-"


def wrong_source(source: str, closed: Protected, *, read_only: bool = False) -> tuple[str, str] | None:
    """Return what is wrong with the source of a mount, a folder or a volume, and the fix; None if it is allowed."""
    if not source.startswith("/"):
        if not VOLUME.fullmatch(source):
            advice = "write an absolute path, or a volume's name of letters, digits, dots, hyphens and underscores"
            return f"the source is neither a folder nor a volume: {shown(source)}", advice
        if source in closed.volumes or source.startswith(closed.homes):
            return f"{shown(source)} may be a user's home, a shared folder or the Hub's data", "use another volume"
    elif source != "/" and not is_folder(source):
        return f"the source is not a folder's path: {shown(source)}", "write it without . and .., colons and braces"
    elif any(folder(source) == each or _is_below(source, each) for each in READABLE):
        return None if read_only else (f"{shown(source)} belongs to the machine", "mount it read-only")
    elif _is_closed(folder(source), closed.folders):
        what = f"{shown(source)} would give servers control of the machine"
        if folder(source) != "/" and _overlap(folder(source), COOLIFY):
            return what, f"mount a dedicated folder: {COOLIFY} is where Coolify keeps its keys to the machine"
        return what, "copy it to a folder of your own" if _is_below(source, "/etc") else "mount a dedicated folder"
    return None


def wrong_mount(source: str, closed: Protected, *, read_only: bool) -> tuple[str, str] | None:
    """The same for a source that may contain {username}, which stands for letters, digits and hyphens."""
    before, field, after = source.partition(USERNAME)
    if field and source.startswith("/"):
        if after and not after.startswith("/"):
            # Volumes have a label that says whose they are.
            end = after.partition("/")[0]
            what = (
                f"the folder of a user ann would be {shown(f'{before}ann{end}')}, which may be that of a user ann{end}"
            )
            return what, "end the folder's name with {username}"
        if may_be_system_folder(before, closed):
            what = f"{shown(source)} could be a system folder, depending on the user's name"
            return what, "use a dedicated folder, such as /srv/data/{username}"
    elif field and not before:
        return (
            f"{shown(source)} could be any volume, depending on the user's name",
            "begin it with a prefix of your own",
        )
    elif field and may_be_protected_volume(before, closed):
        return f"{shown(source)} may be a user's home, a shared folder or the Hub's data", "use another volume"
    return wrong_source(source.replace(USERNAME, "x"), closed, read_only=read_only)


def same_for_all(source: str) -> str:
    """Return the folder that must exist whoever the user is: the source, or the one above the part with {username}."""
    before, field, _ = source.partition(USERNAME)
    return before.rpartition("/")[0] if field else source


def may_be_below(source: str, writable: str) -> bool:
    """Return whether a folder may be inside another one, for some user."""
    inner, outer = (folder(each).split("/") for each in (source, writable))
    same = all(one == other or FIELD.search(one + other) for one, other in zip(inner, outer, strict=False))
    return len(inner) > len(outer) and same and source.startswith("/") and writable.startswith("/")


def may_be_equal(one: Mounted, other: Mounted) -> bool:
    """Return whether a user may get by one template what another user gets by the other.

    By `of-{username}`, x gets what a user called of-x gets by `{username}`.
    """
    names = _name(one.source), _name(other.source)
    if not all(map(FIELD.search, names)) or (names[0] == names[1] and one.by_traits == other.by_traits):
        return False
    # What is before and after the fields.
    (begin, *_, end), (longer, *_, other_end) = sorted(map(FIELD.split, names), key=lambda parts: len(parts[0]))
    end, longer_end = sorted((end, other_end), key=len)
    if not (longer.startswith(begin) and longer_end.endswith(end)):
        return False
    # What only one of them has after the field would have to be part of a user's name.
    return begin != longer or bool(_IN_NAMES.fullmatch(longer_end.removesuffix(end)))


def wrong_together(mounted: Sequence[Mounted]) -> Iterator[tuple[Mounted, str, str]]:
    """Yield what is wrong only beside another mount, with the reason and the fix."""
    for number, each in enumerate(mounted):
        # Whoever can write to a folder can replace one in it by a link, which Docker would follow.
        if outer := next(
            (other.source for other in mounted if other.writable and may_be_below(each.source, other.source)), ""
        ):
            what = (
                f"{shown(each.source)} is inside {shown(outer)}, where servers can write, so a user could replace it"
                " by a link to any folder of the machine"
            )
            yield each, what, f"move it out of {outer}, or mount {outer} read-only"
        elif same := next((other.source for other in mounted[:number] if may_be_equal(each, other)), ""):
            what = f"{shown(each.source)} of one user may be {shown(same)} of another, depending on their names"
            yield each, what, "let both begin with other words, such as data-{username} and cache-{username}"


def _name(source: str) -> str:
    """Return a source; of a folder, only up to the last part with a field, since what is below is the same user's."""
    if not source.startswith("/"):
        return source
    before, field, after = source.rpartition("}")
    return before + field + after.partition("/")[0]


def overlap(path: str, other: str) -> bool:
    """Return whether a folder is, contains or is inside another."""
    return _overlap(folder(path), folder(other))


def _is_closed(source: str, folders: Collection[str]) -> bool:
    if source in (*NOT_AS_A_WHOLE, COOLIFY) or _is_below(source, COOLIFY) or KEYS & {*source.split("/")}:
        return True
    return any(_overlap(source, each) for each in (*NO_SOURCES, *folders))


def may_be_protected_volume(prefix: str, closed: Protected) -> bool:
    """Return whether this prefix with a user's name after it may name a protected volume."""
    return prefix.startswith(closed.homes) or any(each.startswith(prefix) for each in (*closed.homes, *closed.volumes))


def may_be_system_folder(prefix: str, closed: Protected) -> bool:
    """Return whether this prefix with a user's name after it may be the path of a system folder."""
    return prefix.rpartition("/")[0] in ("", "/var", "/var/lib", *NOT_AS_A_WHOLE) or any(
        each.startswith(prefix) for each in (*NO_SOURCES, COOLIFY, *closed.folders)
    )


def wrong_target(target: str, taken: Collection[str]) -> tuple[str, str] | None:
    """Return what is wrong with the target of a mount, and the fix; `taken` are the folders already in use."""
    if not is_folder(target):
        return f"the target is not a folder's path: {shown(target)}", "write one such as /data"
    if folder(target) in (*taken, *NO_TARGETS):
        return f"the target is already in use: {shown(target)}", "choose another one, such as /data"
    if any(_is_below(each, folder(target)) for each in taken):
        return f"{shown(target)} would hide what is mounted below it", "choose another one"
    return None


def is_folder(path: str) -> bool:
    """Return whether this is an absolute path without ".", ".." or characters that Docker treats specially."""
    return bool(FOLDER.fullmatch(path)) and not {".", ".."} & set(path.split("/"))


def folder(path: str) -> str:
    """Return a folder's path without a trailing slash."""
    return path.rstrip("/") or "/"


def _is_below(path: str, of: str) -> bool:
    """Return whether a path is inside a folder."""
    return path.startswith(f"{of.rstrip('/')}/") and path != of


def _overlap(source: str, other: str) -> bool:
    """Return whether a folder is, contains or is inside another; being inside the root does not count."""
    return source == other or _is_below(other, source) or (other != "/" and _is_below(source, other))
