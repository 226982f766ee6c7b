"""Action `removal_plan`: find what `make uninstall` removes, and refuse what would do harm, before anything is changed.

Its arguments:
  name, root: of the Hub (jupyterhub_name, jupyterhub_root).
  delete_data_of: the name that the operator typed to have the data deleted, or "".
  stop_servers: whether the operator accepts that running servers are stopped.
Returns what the module of the same name returns, and `message`, what will be removed and what stays.
"""

from __future__ import annotations

import os
import re
from typing import Any

from ansible.plugins.action import ActionBase

from ..plugin_utils import removal, settled
from ..plugin_utils.preflight import lease

NAME = re.compile(r"[a-z][a-z0-9-]{0,11}")


class ActionModule(ActionBase):
    """See the file's docstring."""

    TRANSFERS_FILES = False
    _requires_connection = True
    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Look at the machine, and fail with one message that lists all reasons not to go on."""
        variables = task_vars or {}
        result: dict[str, Any] = super().run(tmp, variables)
        name, root, typed = (self._task.args[each] for each in ("name", "root", "delete_data_of"))
        if problem := removal.misnamed(str(name), str(root), str(typed)):
            return {**result, "failed": True, "msg": problem}
        check = self._task.check_mode
        wanted = None if check else lease.Lease(name, os.getppid())
        arguments = {"name": name, "root": root, "delete_data": bool(typed)}
        arguments["stamps"] = [each["stamp"] for each in settled.looks(name, root).values()]
        arguments |= {"lease": wanted.request()} if wanted else {}
        found = self._execute_module("local.jupyterhub.removal_plan", arguments, task_vars=variables)
        if found.get("failed"):
            return {**result, **found}
        if holder := found.get("holder"):
            return {**result, "failed": True, "msg": lease.refusal_message(holder)}
        if wanted:
            lease.in_background(lambda: wanted.keep(self._execute))
        found |= {"delete_data": bool(typed), "stop_servers": self._task.args["stop_servers"], "check": check}
        problems = removal.problems(found, name, root)
        if problems and not check:
            return {**result, "failed": True, "msg": "\n".join([*problems, "Nothing was changed."])}
        return {**result, **found, "changed": False, "message": removal.message(found, name, root, problems)}

    def _execute(self, command: str) -> bool | None:
        return bool(self._low_level_execute_command(command)["rc"] == 0)
