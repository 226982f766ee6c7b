"""Action `settled_container`: community.docker.docker_container, unless it would find nothing to do.

Its arguments are that module's, and two of its own:
  seen: what preflight found of the container, {} where it is not there or something was changed since.
  stamp: the file in /run on the machine that remembers how the module left it.
Returns what the module does; of a container that is settled, `changed: false` and `container` with its id, state and
networks.
"""

from __future__ import annotations

import shlex
from typing import Any

from ansible.plugins.action import ActionBase
from ansible.release import __version__ as ansible_version

from ..plugin_utils import settled


class ActionModule(ActionBase):
    """See the file's docstring."""

    TRANSFERS_FILES = False
    _requires_connection = True
    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Run the module, and remember how it left the container; or say that it is as it was left."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        arguments = dict(self._task.args)
        seen, stamp = arguments.pop("seen"), arguments.pop("stamp")
        # The module comes with Ansible.
        wanted = settled.wanted(arguments, ansible_version)
        if seen and seen["stamp"] == f"{wanted} {seen['found']}":
            return {**result, "changed": False, "container": seen["container"]}
        done = self._execute_module("community.docker.docker_container", arguments, task_vars=task_vars)
        if not done.get("failed") and not self._task.check_mode:
            container = done["container"]
            text = f"{wanted} {settled.found(container, container['Image'])}"
            # What is not remembered is looked at again.
            self._low_level_execute_command(f"echo {text} >{shlex.quote(stamp)}")
        return {**result, **done}
