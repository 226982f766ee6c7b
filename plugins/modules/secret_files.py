#!/usr/bin/python
"""Keep a folder of secret files for one container."""

from __future__ import annotations

import hashlib
import os
import secrets
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: secret_files
short_description: Keep a folder of secret files for one container
description:
  - Each secret is a file that only its owner can read, in a folder that only its owner can enter.
  - The user that runs Ansible's tasks owns the folders above it, and only that user can change their content.
  - A given secret is written; otherwise one is generated once and then kept.
  - Returns no secrets, only a digest of all of them, so that containers can be re-created after a change.
options:
  path: {description: The folder (mode 0700)., type: path, required: true}
  root: {description: The topmost of the folders above it that is ours., type: path, required: true}
  owner: {description: Numeric user id of the container that reads the files., type: int, required: true}
  files:
    description: File name to C(value) (the secret), or C(copy_from) (a file on the target), or C(bytes) (length of
      the random secret to generate, written as twice as many hex digits). C(keep) is how many former values stay
      in the lines below a new value. C(former) names a file in which replaced values stay, one a line. With C(absent)
      the file is removed.
    type: dict
    required: true
  exact:
    description: Remove other files from the folder.
    type: bool
    default: false
  rotate:
    description: Names of generated secrets to replace; their copies follow.
    type: list
    elements: str
    default: []
"""

RETURN = r"""
digest: {description: SHA-256 of all names and secrets; empty if unknown in check mode., type: str, returned: always}
written: {description: Names of the files that were or would be written., type: list, returned: always}
mended:
  description: Folders and files whose owner or mode were or would be corrected, or that are removed.
  type: list
  returned: always
"""


def wanted(name: str, spec: dict[str, Any], path: Path) -> bytes | None:
    """Return the content that the file should have, None if it has to be generated.

    Raises:
        ValueError: the secret is given but empty.
        FileNotFoundError: the file to copy from does not exist.
    """
    if spec.get("value") is not None:
        value = str(spec["value"]).strip()
        if not value:
            raise ValueError(
                f"The secret {name!r} is set but empty: give it a value, or leave it out to have one generated."
            )
        return value.encode()
    if spec.get("copy_from"):
        return Path(spec["copy_from"]).read_bytes()
    if path.exists() and path.stat().st_size:
        return path.read_bytes()
    return None


def generated(spec: dict[str, Any], path: Path) -> bytes:
    """Return a new random secret, followed by the former ones to keep."""
    former = path.read_bytes().split() if path.exists() else []
    new = secrets.token_hex(int(spec.get("bytes") or 32)).encode()
    return b"\n".join([new, *former[: int(spec.get("keep") or 0)]])


def write(path: Path, content: bytes, owner: int) -> None:
    """Replace a file atomically: a reader sees the old secret or the new one, never half of it."""
    # A fixed name, so that the next run overwrites what an interrupted one left behind.
    new = path.with_name(f".{path.name}.new")
    handle = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        os.write(handle, content)
        os.fchown(handle, owner, owner)
        os.fsync(handle)
    finally:
        os.close(handle)
    new.replace(path)


def keep_former(path: Path, former: Path, owner: int) -> None:
    """Add a value that will be replaced to the file with the former ones."""
    kept = former.read_bytes() if former.exists() else b""
    value = path.read_bytes().strip()
    if value and value not in kept.splitlines():
        write(former, kept + value + b"\n", owner)


def folders_above(path: Path, root: Path) -> list[Path]:
    """Return the folders that contain the path, from the root down."""
    return [folder for folder in reversed(path.parents) if folder == root or root in folder.parents]


def open_to_others(folder: Path) -> bool:
    """Return whether another user could replace files in the folder."""
    status = folder.stat()
    return status.st_uid != os.geteuid() or bool(status.st_mode & 0o022)


def close(folder: Path) -> None:
    """Make the folder writable by its owner only; read permissions stay."""
    os.chown(folder, os.geteuid(), -1)
    folder.chmod(folder.stat().st_mode & ~0o022 & 0o7777)


def right(path: Path, owner: int, mode: int) -> bool:
    """Return whether owner and mode are as they should be."""
    if not path.exists():
        return False
    status = path.stat()
    return (status.st_uid, status.st_gid, status.st_mode & 0o7777) == (owner, owner, mode)


def set_right(path: Path, owner: int, mode: int) -> None:
    """Give a path its owner and mode."""
    os.chown(path, owner, owner)
    path.chmod(mode)


def surplus(folder: Path, files: dict[str, Any]) -> list[Path]:
    """Return the files in the folder that are not wanted."""
    known = {*files, *(spec["former"] for spec in files.values() if spec.get("former"))}
    return [path for path in folder.iterdir() if path.name not in known] if folder.exists() else []


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "root": {"type": "path", "required": True},
            "owner": {"type": "int", "required": True},
            "files": {"type": "dict", "required": True, "no_log": True},
            "exact": {"type": "bool", "default": False},
            "rotate": {"type": "list", "elements": "str", "default": []},
        },
        supports_check_mode=True,
    )
    folder, owner = Path(module.params["path"]), module.params["owner"]
    digest, written, mended = hashlib.sha256(), [], []
    try:
        for above in folders_above(folder, Path(module.params["root"])):
            if not above.exists() or open_to_others(above):
                mended.append(str(above))
                if not module.check_mode:
                    above.mkdir(parents=True, exist_ok=True)
                    close(above)
        if not right(folder, owner, 0o700):
            mended.append(str(folder))
            if not module.check_mode:
                folder.mkdir(exist_ok=True)
                set_right(folder, owner, 0o700)
        for name, spec in sorted(module.params["files"].items()):
            path = folder / name
            if spec.get("absent"):
                mended += [str(path)] if path.exists() else []
                if not module.check_mode:
                    path.unlink(missing_ok=True)
                continue
            source = spec.get("copy_from")
            # In a dry run, an earlier role may not have written the file to copy yet.
            unwritten = module.check_mode and source and not Path(source).exists()
            is_new = unwritten or (name in module.params["rotate"] and not source)
            content = None if is_new else wanted(name, spec, path)
            if content is None or not path.exists() or path.read_bytes() != content:
                written.append(name)
                if content is None:
                    content = generated(spec, path)
                if not module.check_mode:
                    if spec.get("former") and path.exists():
                        keep_former(path, folder / spec["former"], owner)
                    write(path, content, owner)
            elif not right(path, owner, 0o600):
                mended.append(str(path))
                if not module.check_mode:
                    set_right(path, owner, 0o600)
            digest.update(name.encode() + b"\0" + content + b"\0")
        for path in surplus(folder, module.params["files"]) if module.params["exact"] else []:
            mended.append(str(path))
            if not module.check_mode:
                path.unlink()
    except (OSError, ValueError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(
        changed=bool(written or mended),
        written=written,
        mended=mended,
        digest="" if module.check_mode and written else digest.hexdigest(),
    )


if __name__ == "__main__":
    main()
