#!/usr/bin/python
"""Raise the fence around the users' network: keep its script and its unit, and have the rules in force."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: fence
short_description: Raise the fence around the users' network
description:
  - Writes the script that holds the rules, and where there is systemd the unit that runs it at boot.
  - Then has the script put its rules in force. What is loaded is compared with what is wanted, so that a rule removed
    by hand is put back.
options:
  script:
    description: The script (mode 0755). C(load) puts its rules in force, and says C(in force) where they were already;
      C(check) says so, and changes nothing; C(lacks) says what of it the kernel cannot do.
    type: dict
    required: true
    options: &file
      path: {description: Where it is., type: path, required: true}
      content: {description: What is in it., type: str, required: true}
  unit:
    description: The unit that loads the rules at boot (mode 0644).
    type: dict
    options: *file
author: The jupyterhub-ansible authors
"""

RETURN = r"""
written: {description: The files that were or would be written or given their mode., type: list, returned: always}
digest: {description: SHA-256 of the script., type: str, returned: always}
"""

FILE = {"path": {"type": "path", "required": True}, "content": {"type": "str", "required": True}}


def read(path: Path) -> str | None:
    """Return a file's text; None where there is no file."""
    return path.read_text() if path.exists() else None


def right(path: Path, mode: int) -> bool:
    """Return whether a file's mode is as it should be, and its owner who runs this: root."""
    status = path.stat()
    return (status.st_uid, status.st_gid, status.st_mode & 0o7777) == (os.geteuid(), os.getegid(), mode)


def keep(module: AnsibleModule, file: dict[str, str], mode: int, result: dict[str, Any]) -> None:
    """Write a file that differs, and give it its owner and mode; add to the result what was or would be done."""
    path = Path(file["path"])
    before = read(path)
    if before == file["content"] and right(path, mode):
        return
    result["written"].append(str(path))
    result["diff"].append(
        {"before": before or "", "after": file["content"], "before_header": str(path), "after_header": str(path)}
    )
    if module.check_mode:
        return
    if before != file["content"]:
        new = Path(module.tmpdir, path.name)
        new.write_text(file["content"])
        module.atomic_move(str(new), str(path))
    os.chown(path, os.geteuid(), os.getegid())
    path.chmod(mode)


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "script": {"type": "dict", "required": True, "options": FILE},
            "unit": {"type": "dict", "options": FILE},
        },
        supports_check_mode=True,
    )
    script, unit = module.params["script"], module.params["unit"]
    digest = hashlib.sha256(script["content"].encode()).hexdigest()
    result: dict[str, Any] = {"written": [], "diff": [], "digest": digest}
    # The script last: a run that is cut off in between leaves none that nobody looks after.
    if unit:
        keep(module, unit, 0o644, result)
    keep(module, script, 0o755, result)
    result["changed"] = bool(result["written"])
    # A dry run does not run what it would have written first.
    if not (module.check_mode and result["changed"]):
        command = [script["path"], "check" if module.check_mode else "load"]
        code, said, error = module.run_command(command)
        if code:
            module.fail_json(
                msg="The fence around the users' network could not be raised; nobody should log in before this is"
                f" mended. {' '.join(command)} says: {(error or said).strip()}"
            )
        result["changed"] |= said.strip() != "in force"
        # Only the machine's kernel can tell.
        _, lacks, _ = module.run_command([script["path"], "lacks"])
        if lacks.strip():
            module.warn(f"The fence: {lacks.strip()}")
    module.exit_json(**result)


if __name__ == "__main__":
    main()
