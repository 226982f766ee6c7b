#!/usr/bin/python
"""Install a script, its settings and the unit that keeps its effect, and apply it."""

from __future__ import annotations

import hashlib
import os
import shlex
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: watched_script
short_description: Install a script and the unit that keeps its effect, and apply it
description:
  - Writes the script, its settings beside it (C(.conf), as shell assignments), and with systemd the unit that runs it
    at boot and watches from then on.
  - Then runs the script, which compares the current state with the wanted one, and so undoes changes made by hand.
options:
  about: {description: "What the script does, for messages: C(The fence).", type: str, required: true}
  path: {description: Where the script is (mode 0755)., type: path, required: true}
  content:
    description: The script. C(keep) applies it, and prints C(in force) if nothing had to be changed; C(check) only
      prints that, and changes nothing.
    type: str
    required: true
  settings: {description: Names and values., type: dict, required: true}
  unit:
    description: The unit (mode 0644), as C(path) and C(content); none without systemd.
    type: dict
    options:
      path: {description: The unit's file., type: path, required: true}
      content: {description: The file's content., type: str, required: true}
  lacks:
    description: The script has a command C(lacks), which prints what this machine cannot do. It becomes a warning.
    type: bool
    default: false
author: The jupyterhub-ansible authors
"""

RETURN = r"""
written: {description: The files that were or would be written or given their mode., type: list, returned: always}
digest: {description: SHA-256 of the script and its settings., type: str, returned: always}
"""

# The script may be on a file system that is mounted noexec.
SHELL = "/bin/sh"
RUNS = "NeedDaemonReload=no SubState=running"


def read(path: Path) -> str | None:
    """Return a file's content, None if it does not exist."""
    return path.read_text() if path.exists() else None


def right(path: Path, mode: int) -> bool:
    """Return whether a file has this mode and belongs to the current user, root."""
    status = path.stat()
    return (status.st_uid, status.st_gid, status.st_mode & 0o7777) == (os.geteuid(), os.getegid(), mode)


def make_folder(module: AnsibleModule, folder: Path) -> None:
    """Create the script's folder, which everyone may read but only root may change."""
    if not folder.exists() and not module.check_mode:
        make_folder(module, folder.parent)
        folder.mkdir()
        folder.chmod(0o755)


def write(module: AnsibleModule, path: Path, content: str, mode: int, result: dict[str, Any]) -> None:
    """Write a file if it differs, set its owner and mode, and add to the result what was or would be done."""
    before = read(path)
    if before == content and right(path, mode):
        return
    result["written"].append(str(path))
    result["diff"].append(
        {"before": before or "", "after": content, "before_header": str(path), "after_header": str(path)}
    )
    if module.check_mode:
        return
    if before != content:
        new = Path(module.tmpdir, path.name)
        new.write_text(content)
        module.atomic_move(str(new), str(path))
    os.chown(path, os.geteuid(), os.getegid())
    path.chmod(mode)


def is_watched(module: AnsibleModule, unit: str) -> bool:
    """Return whether the unit is enabled and runs with its current file."""
    code, _, _ = module.run_command(["systemctl", "--quiet", "is-enabled", unit])
    _, said, _ = module.run_command(
        ["systemctl", "show", "--property", "SubState", "--property", "NeedDaemonReload", unit]
    )
    return code == 0 and " ".join(sorted(said.split())) == RUNS


def watch(module: AnsibleModule, unit: str) -> None:
    """Make systemd run the unit, now and at every boot."""
    for command in (["daemon-reload"], ["--quiet", "enable", unit], ["restart", unit]):
        module.run_command(["systemctl", *command], check_rc=True)


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "about": {"type": "str", "required": True},
            "path": {"type": "path", "required": True},
            "content": {"type": "str", "required": True},
            "settings": {"type": "dict", "required": True},
            "unit": {
                "type": "dict",
                "options": {"path": {"type": "path", "required": True}, "content": {"type": "str", "required": True}},
            },
            "lacks": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    params, unit = module.params, module.params["unit"]
    script = Path(params["path"])
    settings = "".join(f"{name}={shlex.quote(str(value))}\n" for name, value in sorted(params["settings"].items()))
    digest = hashlib.sha256(f"{params['content']}{settings}".encode()).hexdigest()
    result: dict[str, Any] = {"written": [], "diff": [], "digest": digest}
    make_folder(module, script.parent)
    # The script comes last, so that an interrupted run leaves none without its unit or settings.
    if unit:
        write(module, Path(unit["path"]), unit["content"], 0o644, result)
    write(module, Path(f"{script}.conf"), settings, 0o644, result)
    write(module, script, params["content"], 0o755, result)
    result["changed"] = bool(result["written"])
    # A dry run cannot run a script that it would have had to write first.
    if not (module.check_mode and result["changed"]):
        command = [SHELL, str(script), "check" if module.check_mode else "keep"]
        code, said, error = module.run_command(command)
        if code:
            module.fail_json(
                msg=f"{params['about']} is not in force. {' '.join(command)} says: {(error or said).strip()}"
            )
        result["changed"] |= said.strip() != "in force"
        if unit and not is_watched(module, name := Path(unit["path"]).name):
            result["changed"] = True
            if not module.check_mode:
                watch(module, name)
        # That depends on the machine's kernel.
        _, lacks, _ = module.run_command([SHELL, str(script), "lacks"]) if params["lacks"] else (0, "", "")
        if lacks.strip():
            module.warn(f"{params['about']}: {lacks.strip()}")
    module.exit_json(**result)


if __name__ == "__main__":
    main()
