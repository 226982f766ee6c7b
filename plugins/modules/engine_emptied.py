#!/usr/bin/python
"""Fail if an engine has anything left that would be lost with it."""

from __future__ import annotations

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.engine_removal import listed, unexpected

DOCUMENTATION = r"""
module: engine_emptied
short_description: Fail if an engine has anything left that would be lost with it
description:
  - The last check before an engine is removed. What M(removal_plan) saw is minutes old, and something else may
    have been started since. Changes nothing.
options:
  name: {description: The Hub's name., type: str, required: true}
  keeps_volumes: {description: Whether the Hub's volumes stay., type: bool, required: true}
  socket: {description: The engine's socket., type: path, default: /var/run/docker.sock}
author: The jupyterhub-ansible authors
"""


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "keeps_volumes": {"type": "bool", "required": True},
            "socket": {"type": "path", "default": "/var/run/docker.sock"},
        },
        # In a dry run, everything is still there.
        supports_check_mode=False,
    )
    things = listed(module.params["socket"])
    if things is None:
        module.fail_json(
            msg="The Docker engine does not answer any more, so nobody knows what it has. It was not removed. Fix: look"
            " into its log (journalctl --unit docker), and repeat make uninstall."
        )
    elif found := unexpected(things, module.params["name"], module.params["keeps_volumes"]):
        module.fail_json(
            msg=f"The Docker engine was not removed, since it has something else by now: {', '.join(found)}. Fix:"
            " repeat make uninstall, which then leaves the engine as it is."
        )
    module.exit_json(changed=False)


if __name__ == "__main__":
    main()
