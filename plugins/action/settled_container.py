"""Action `settled_container`: run community.docker.docker_container, unless it would find nothing to do.

Its arguments are that module's, and two of its own:
  seen: what preflight found out about the container, {} if it does not exist or something has changed since.
  stamp: the file in /run on the machine that remembers how the module left it.
Returns the module's result; for a settled container, `changed: false` and `container` with its id, state and networks.
"""

from __future__ import annotations

import shlex
from typing import Any

from ansible.plugins.action import ActionBase
from ansible.release import __version__ as ansible_version

from ..plugin_utils import settled

# Of the system, whatever variables say (playbooks/site.yml; a play's module_defaults do not apply here).
ENGINE = {"docker_host": "unix:///var/run/docker.sock", "tls": False, "validate_certs": False}


class ActionModule(ActionBase):
    """See the file's docstring."""

    TRANSFERS_FILES = False
    _requires_connection = True
    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Run the module and remember how it left the container; skip it if the container is still the same."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        arguments = dict(self._task.args)
        seen, stamp = arguments.pop("seen"), arguments.pop("stamp")
        # Ansible's version identifies the module's.
        wanted = settled.wanted(arguments, ansible_version)
        if seen and seen["stamp"] == f"{wanted} {seen['found']}":
            return {**result, "changed": False, "container": seen["container"]}
        done = self._execute_module("community.docker.docker_container", ENGINE | arguments, task_vars=task_vars)
        if not done.get("failed") and not self._task.check_mode:
            container = done["container"]
            text = f"{wanted} {settled.found(container, container['Image'])}"
            # If this fails, the module runs again next time.
            self._low_level_execute_command(f"echo {text} >{shlex.quote(stamp)}")
        return {**result, **done}
