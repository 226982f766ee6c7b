#!/usr/bin/python
"""Remove what a stopped engine leaves in the kernel: its firewall rules and its bridge."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

from ..module_utils import machine_record
from ..module_utils.docker_rules import PROGRAMS, Said, without_docker

DOCUMENTATION = r"""
module: docker_rules
short_description: Remove what a stopped engine leaves in the kernel
description:
  - Removes the chains and rules of the engine from iptables, and the bridge docker0. Other rules stay.
  - The engine sets the policy for forwarded packets to DROP. It is set to ACCEPT again if it was recorded as such.
  - A table of iptables that has no rule afterwards is removed.
options:
  record: {description: The record., type: path, default: /var/lib/jupyterhub-ansible/installed.json}
author: The jupyterhub-ansible authors
"""

# What iptables leaves of a table without rules, as nft lists it.
EMPTY = re.compile(r"table ip6? \w+ \{(\s*chain \w+ \{\s*type [^;]+; policy accept;\s*\})*\s*\}\s*")
# Those of newer engines that do without iptables.
OWN_TABLES = ("ip docker-bridges", "ip6 docker-bridges")


def changed_tables(said: Said, before: Mapping[str, str]) -> dict[tuple[str, ...], str]:
    """Return the commands that restore the tables of iptables, each with its input.

    Args:
        said: returns a command's output.
        before: the recorded policies, by program and chain.
    """
    changes: dict[tuple[str, ...], str] = {}
    for program in PROGRAMS:
        saved = said(f"{program}-save")
        if (kept := without_docker(saved, policy=before.get(f"{program} FORWARD", ""))) != saved:
            changes[(f"{program}-restore",)] = kept
    return changes


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={"record": {"type": "path", "default": str(machine_record.RECORD)}}, supports_check_mode=True
    )
    before = machine_record.read(Path(module.params["record"])).get(machine_record.POLICIES, {})

    def said(program: str, *arguments: str) -> str:
        found = module.get_bin_path(program, opt_dirs=["/usr/sbin", "/sbin"])
        code, output, _ = module.run_command([found, *arguments]) if found else (1, "", "")
        return "" if code else str(output)

    changes = changed_tables(said, before)
    tables = said("nft", "list", "tables").splitlines()
    changes |= {("nft", "delete", "table", *own.split()): "" for own in OWN_TABLES if f"table {own}" in tables}
    if Path("/sys/class/net/docker0").exists():
        changes["ip", "link", "delete", "docker0"] = ""
    if changes and not module.check_mode:
        for (program, *arguments), text in changes.items():
            path = module.get_bin_path(program, required=True, opt_dirs=["/usr/sbin", "/sbin"])
            module.run_command([path, *arguments], data=text, check_rc=True)
        for table in said("nft", "list", "tables").splitlines():
            _, family, name = table.split()
            if family in ("ip", "ip6") and EMPTY.fullmatch(said("nft", "list", "table", family, name)):
                said("nft", "delete", "table", family, name)
    module.exit_json(changed=bool(changes))


if __name__ == "__main__":
    main()
