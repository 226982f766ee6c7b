#!/usr/bin/python
"""Install packages and record which ones are new, or remove recorded ones."""

from __future__ import annotations

from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

from ..module_utils import debian_packages, machine_record

DOCUMENTATION = r"""
module: packages
short_description: Install Debian's packages and record which ones are new, or remove recorded ones
description:
  - Before packages are installed, those that are new, dependencies included, are recorded for `make uninstall`.
  - Needs nothing but apt-get, unlike Ansible's own module, which would install python3-apt without a record.
  - If an index cannot be updated, the old one is used, which may be enough.
  - Packages are removed, but not purged. Debian's purge of the engine removes its folder, with all volumes.
  - If apt would remove others with them, nothing is removed.
options:
  names: {description: The packages., type: list, elements: str, required: true}
  state: {description: Whether they are to be there., type: str, choices: [present, absent], default: present}
  record: {description: The record., type: path, default: /var/lib/jupyterhub-ansible/installed.json}
author: The jupyterhub-ansible authors
"""

TRIES = 3


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "names": {"type": "list", "elements": "str", "required": True},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "record": {"type": "path", "default": str(machine_record.RECORD)},
        },
        supports_check_mode=True,
    )
    names, record = module.params["names"], Path(module.params["record"])

    def run(command: list[str]) -> str:
        code, said, error = module.run_command(command, environ_update=debian_packages.ENVIRONMENT)
        if code:
            module.fail_json(msg=f"{' '.join(command[:1])} failed: {(error or said).strip()[-2000:]}")
        return str(said)

    if module.check_mode:
        # Without a fresh index, which a bare machine does not have, apt cannot simulate.
        module.exit_json(changed=bool(names))
    if module.params["state"] == "present":
        update = ["apt-get", *debian_packages.OPTIONS, "update"]
        for _ in range(TRIES):
            code, _, error = module.run_command(update, environ_update=debian_packages.ENVIRONMENT)
            # apt-get only warns if an index cannot be fetched.
            if not code and "W: Failed to fetch" not in error:
                break
        debian_packages.install(names, run, record)
    else:
        if beside := debian_packages.touched_beside(names, run):
            module.fail_json(msg=debian_packages.refusal(names, beside))
        run(["apt-get", *debian_packages.OPTIONS, "remove", *names])
    module.exit_json(changed=True)


if __name__ == "__main__":
    main()
