"""The volumes of mounts and shared folders, besides the homes: created with our label, and writable for users' servers.

Docker would create them without a label, and owned by root, so that no server could write.  A volume without our label
is never changed: it may be somebody else's.
"""

import re
from typing import Any

from docker import DockerClient
from docker.errors import NotFound
from docker.types import Mount

from ..engine.labels import KIND, OF_MOUNTS, PROJECT, USER, carries
from .home_archives import HomesError, run_as_root

KIND_OF_SHARED = "shared-folder"
"""A volume that is a shared folder (jupyterhub_ansible.shared_folders)."""
_STAT = 'stat -c "%u %a" /volume'
# Only while it is empty: whoever has put something in has also decided to whom it belongs.
_OWN = f'{{ [ "$(stat -c %u /volume)" != 0 ] || [ "$(ls -A /volume)" ] || chown "$1" /volume; }} && {_STAT}'
_WRITE_OWNER, _WRITE_OTHERS = 0o200, 0o022


class TakenError(Exception):
    """The volume is another user's, or not the shared folder that has its name."""


def docker_mount(source: str, target: str, *, read_only: bool) -> Mount:
    """Return a mount of a folder of the machine, or of a volume."""
    is_folder = source.startswith("/")
    return Mount(
        target=target,
        source=source,
        type="bind" if is_folder else "volume",
        read_only=read_only,
        # Docker would copy the image's folder, and its owner, into an empty volume at each start.
        no_copy=not is_folder or None,
    )


def of_user(client: DockerClient, project: str, user: str) -> list[str]:
    """Return the names of the volumes that mounts gave to this user alone."""
    wanted = [f"{PROJECT}={project}", f"{KIND}={OF_MOUNTS}", f"{USER}={user}"]
    return sorted(volume.name for volume in client.volumes.list(filters={"label": wanted}))


def ensure(
    client: DockerClient, project: str, name: str, user: str, *, own: bool, shared: bool = False
) -> tuple[bool, str]:
    """Create a volume if it does not exist; return whether it is ours, and since when it exists.

    Args:
        client: of the engine.
        project: `jupyterhub_name`.
        name: the volume.
        user: whose server mounts it.
        own: whether it is for that user alone.
        shared: whether it is a shared folder.

    Raises:
        TakenError: it carries the label of another user, or not those of a shared folder.
        APIError: Docker refused something.
    """
    wanted = {PROJECT: project, KIND: KIND_OF_SHARED if shared else OF_MOUNTS}
    try:
        found: Any = client.volumes.get(name)
    except NotFound:
        client.volumes.create(name, labels={**wanted, USER: user} if own else wanted)
        found = client.volumes.get(name)
    labels = found.attrs["Labels"] or {}
    if labels.get(USER, user) != user or (shared and not carries(labels, wanted)):
        raise TakenError
    # Not every driver says when.
    return carries(labels, wanted), found.attrs.get("CreatedAt") or ""


def make_writable(client: DockerClient, project: str, name: str, uid: int, *, ours: bool) -> str:
    """Give an empty volume of ours to the servers' user; return what the operator has to do, "" if nothing.

    Args:
        client: of the engine.
        project: `jupyterhub_name`.
        name: the volume.
        uid: as which the server runs.
        ours: whether the volume has our label.

    Raises:
        HomesError: the helper failed.
        APIError: Docker refused something.
    """
    script, capabilities = (_OWN, ("CHOWN",)) if ours else (_STAT, ())
    said = run_as_root(client, project, script, str(uid), {name: "/volume" if ours else "/volume:ro"}, *capabilities)
    match = re.fullmatch(r"(\d+) ([0-7]+)", said.strip())
    if not match:
        raise HomesError(f"its owner cannot be found: {said.strip()}")
    owner, mode = int(match[1]), int(match[2], 8)
    # A group may be the server's, which is not known here.
    if mode & _WRITE_OTHERS or (owner == uid and mode & _WRITE_OWNER):
        return ""
    folder = f"$(sudo docker volume inspect --format '{{{{.Mountpoint}}}}' {name})"
    why = "has files or another owner already" if ours else "does not carry this Hub's label"
    return (
        f"servers (uid {uid}) cannot write to the volume {name}: it belongs to the uid {owner}, and is left alone,"
        f' since it {why}. To let them write: sudo chown -R {uid} "{folder}"'
    )
