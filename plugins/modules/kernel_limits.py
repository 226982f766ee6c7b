#!/usr/bin/python
"""Raise limits of the kernel, now and at every boot."""

from __future__ import annotations

from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: kernel_limits
short_description: Raise limits of the kernel, now and at every boot
description:
  - Writes a file for sysctl, and sets the values directly, without the program sysctl.
  - Warns of values that cannot be changed on this machine, as in many containers.
options:
  limits:
    description: Lines of the file, as engine_info returns them.
    type: list
    elements: str
    required: true
  low:
    description: Those of them that are not in force. Only these values are set.
    type: list
    elements: str
    required: true
  path:
    description: The file.
    type: path
    default: /etc/sysctl.d/zz-jupyterhub-ansible.conf
  kernel:
    description: The kernel's folder of them.
    type: path
    default: /proc/sys
author: The jupyterhub-ansible authors
"""

RETURN = r"""
refused: {description: Names of those that could not be raised., type: list, returned: always}
"""

HEAD = """\
# Written by jupyterhub-ansible: all users' servers run as one user id, and the kernel counts these limits per user id
# or for the whole machine. With these limits raised, a server is bounded by its own memory limit instead.
"""


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "limits": {"type": "list", "elements": "str", "required": True},
            "low": {"type": "list", "elements": "str", "required": True},
            "path": {"type": "path", "default": "/etc/sysctl.d/zz-jupyterhub-ansible.conf"},
            "kernel": {"type": "path", "default": "/proc/sys"},
        },
        supports_check_mode=True,
    )
    limits, path, kernel = module.params["limits"], Path(module.params["path"]), Path(module.params["kernel"])
    old = path.read_text() if path.is_file() else ""
    new = HEAD + "".join(f"{line}\n" for line in limits)
    diff = [{"before_header": str(path), "after_header": str(path), "before": old, "after": new}] if new != old else []
    if diff and not module.check_mode:
        path.parent.mkdir(mode=0o755, exist_ok=True)
        path.write_text(new)
        path.chmod(0o644)
    raised: list[str] = []
    refused: list[str] = []
    for line in module.params["low"]:
        name, _, value = line.partition(" = ")
        done = module.check_mode or written(kernel / name.replace(".", "/"), value)
        (raised if done else refused).append(name)
    if refused:
        names = ", ".join(refused)
        module.warn(f"The kernel does not let this machine change {names}: one server can use it up for all.")
    module.exit_json(changed=bool(diff or raised), refused=refused, diff=diff)


def written(path: Path, value: str) -> bool:
    """Return whether the kernel accepted a value."""
    try:
        path.write_text(value)
    except OSError:
        return False
    return True


if __name__ == "__main__":
    main()
