#!/usr/bin/python
"""Reduce the record of what runs added to a machine."""

from __future__ import annotations

from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

from ..module_utils import machine_record

DOCUMENTATION = r"""
module: machine_record
short_description: Reduce the record of what runs added to a machine
description:
  - Keeps the entries that are named. Without any, the file is removed.
options:
  keep: {description: Names of packages and kernel settings., type: list, elements: str, required: true}
  path: {description: The record., type: path, default: /var/lib/jupyterhub-ansible/installed.json}
author: The jupyterhub-ansible authors
"""


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "keep": {"type": "list", "elements": "str", "required": True},
            "path": {"type": "path", "default": str(machine_record.RECORD)},
        },
        supports_check_mode=True,
    )
    path, kept = Path(module.params["path"]), module.params["keep"]
    names = {name for each in machine_record.read(path).values() for name in each}
    changed = bool(names - {*kept}) or (path.exists() and not names)
    if changed and not module.check_mode:
        machine_record.keep(kept, path)
    module.exit_json(changed=changed)


if __name__ == "__main__":
    main()
