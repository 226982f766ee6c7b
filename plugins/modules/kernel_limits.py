#!/usr/bin/python
"""Raise limits of the kernel, now and at every boot; or restore them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils import machine_record

DOCUMENTATION = r"""
module: kernel_limits
short_description: Raise limits of the kernel, now and at every boot; or restore them
description:
  - Writes a file for sysctl, and sets the values directly, without the program sysctl. Before the file is written for
    the first time, the values are recorded.
  - Warns of values that cannot be changed on this machine, as in many containers.
  - C(absent) removes the file, and sets the recorded values again; one that a file of the machine sets, as there.
options:
  limits:
    description: Lines of the file, as engine_info returns them.
    type: list
    elements: str
    default: []
  low:
    description: Those of them that are not in force. Only these values are set.
    type: list
    elements: str
    default: []
  remember:
    description: Names of settings that others change after this, to be recorded as well.
    type: list
    elements: str
    default: []
  before:
    description: Further settings with the values that C(absent) sets.
    type: dict
    default: {}
  keep:
    description: Names of recorded settings that C(absent) leaves as they are now.
    type: list
    elements: str
    default: []
  state: {description: Whether they are to be raised., type: str, choices: [present, absent], default: present}
  path:
    description: The file.
    type: path
    default: /etc/sysctl.d/zz-jupyterhub-ansible.conf
  kernel:
    description: The kernel's folder of them.
    type: path
    default: /proc/sys
  record: {description: The record., type: path, default: /var/lib/jupyterhub-ansible/installed.json}
  others:
    description: Folders with the machine's own files for sysctl.
    type: list
    elements: path
    default: [/usr/lib/sysctl.d, /run/sysctl.d, /etc/sysctl.d, /etc]
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
            "limits": {"type": "list", "elements": "str", "default": []},
            "low": {"type": "list", "elements": "str", "default": []},
            "remember": {"type": "list", "elements": "str", "default": []},
            "before": {"type": "dict", "default": {}},
            "keep": {"type": "list", "elements": "str", "default": []},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "path": {"type": "path", "default": "/etc/sysctl.d/zz-jupyterhub-ansible.conf"},
            "kernel": {"type": "path", "default": "/proc/sys"},
            "record": {"type": "path", "default": str(machine_record.RECORD)},
            "others": {
                "type": "list",
                "elements": "path",
                "default": ["/usr/lib/sysctl.d", "/run/sysctl.d", "/etc/sysctl.d", "/etc"],
            },
        },
        supports_check_mode=True,
    )
    if module.params["state"] == "absent":
        module.exit_json(**restore(module))
    limits, path, kernel = module.params["limits"], Path(module.params["path"]), Path(module.params["kernel"])
    old = path.read_text() if path.is_file() else ""
    new = HEAD + "".join(f"{line}\n" for line in limits)
    diff = [{"before_header": str(path), "after_header": str(path), "before": old, "after": new}] if new != old else []
    if not old and not module.check_mode:
        changing = [line.partition(" = ")[0] for line in module.params["low"]] + module.params["remember"]
        before = {name: (kernel / name.replace(".", "/")) for name in changing}
        values = {name: file.read_text().strip() for name, file in before.items() if file.is_file()}
        machine_record.remember(machine_record.KERNEL, values, Path(module.params["record"]))
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


def restore(module: AnsibleModule) -> dict[str, Any]:
    """Remove the file, and set what was recorded."""
    path, kernel, record = (Path(module.params[each]) for each in ("path", "kernel", "record"))
    before = machine_record.read(record).get(machine_record.KERNEL, {})
    machine = [each for each in own_settings(map(Path, module.params["others"])) if each[0] != path]
    wanted = {**module.params["before"], **before, **{name: value for _, name, value in machine if name in before}}
    files = {name: kernel / name.replace(".", "/") for name in wanted}
    other = {
        name
        for name, file in files.items()
        if name not in module.params["keep"] and file.is_file() and file.read_text().strip() != wanted[name]
    }
    changed = path.exists() or bool(other)
    refused: list[str] = []
    if not module.check_mode:
        path.unlink(missing_ok=True)
        refused = sorted(name for name in other if not written(files[name], wanted[name]))
    return {"changed": changed, "refused": refused}


def own_settings(folders: Iterable[Path]) -> Iterator[tuple[Path, str, str]]:
    """Yield what the machine's own files set, in the order in which they are read: file, name and value."""
    files = {
        each.name: each
        for folder in folders
        for each in folder.glob("sysctl.conf" if folder.name == "etc" else "*.conf")
    }
    for _, file in sorted(files.items(), key=lambda each: (each[0] == "sysctl.conf", each[0])):
        for line in file.read_text(errors="replace").splitlines() if file.is_file() else []:
            name, equals, value = line.partition("=")
            if equals and not line.lstrip().startswith(("#", ";")):
                yield file, name.strip().removeprefix("-").replace("/", "."), value.strip()


def written(path: Path, value: str) -> bool:
    """Return whether the kernel accepted a value."""
    try:
        path.write_text(value)
    except OSError:
        return False
    return True


if __name__ == "__main__":
    main()
