"""Action `settled`: run a module, unless it would find nothing to do.

Its arguments:
  module: name of the module, or of the action with a module of that name.
  arguments: the module's arguments.
  look: name of the command that shows everything that the module would check (`settled.looks` of preflight).
  keep: names of the module's return values to remember, and to return if the module is skipped.
Returns the module's result; if all is settled, `changed: false` and the remembered values.

In a play without the role preflight the commands did not run, so the module always runs.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

from ansible.plugins.action import ActionBase
from ansible.plugins.loader import module_loader

from ..plugin_utils import settled

# Fact of the play: something has changed since preflight, so what it saw is no longer valid.
CHANGED = "jupyterhub_changed"


@cache
def _shared() -> str:
    """Return the code that our modules may import."""
    folder = Path(__file__).resolve().parents[1] / "module_utils"
    return "".join(path.read_text() for path in sorted((*folder.glob("*.py"), *folder.glob("*/*.py"))))


def _code(name: str) -> str:
    """Return the code of a module, which identifies its version."""
    own = Path(module_loader.find_plugin(name)).read_text()
    return own + _shared() if name.startswith("local.") else own


class ActionModule(ActionBase):
    """See the file's docstring."""

    TRANSFERS_FILES = False
    _requires_connection = True
    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Run the module and remember the state of its part of the machine; skip it if that is still the same."""
        variables = task_vars or {}
        result: dict[str, Any] = super().run(tmp, variables)
        arguments, keep = self._task.args["arguments"], self._task.args.get("keep", [])
        name = self._task.args["module"]
        wanted = settled.wanted(arguments, _code(name))
        seen = self._templar.template(variables.get("preflight_seen", {})).get(self._task.args["look"])
        if seen and not variables["ansible_facts"].get(CHANGED):
            is_settled, kept = settled.compare(seen, wanted)
            if is_settled:
                return {**result, "changed": False, **kept}
        done = self._run_module(name, arguments, variables)
        if seen and not done.get("failed") and not self._task.check_mode:
            kept = {key: done[key] for key in keep}
            # A warning must be repeated by the next run, so then nothing is remembered.
            text = "" if done.get("warnings") else json.dumps({"wanted": wanted, "kept": kept})
            self._low_level_execute_command(settled.remember(seen), in_data=text.encode())
        if done.get("changed"):
            done["ansible_facts"] = {CHANGED: True}
        return {**result, **done}

    def _run_module(self, name: str, arguments: dict[str, Any], variables: dict[str, Any]) -> dict[str, Any]:
        actions = self._shared_loader_obj.action_loader
        done: dict[str, Any]
        if name not in actions:
            done = self._execute_module(name, arguments, task_vars=variables)
            return done
        task = self._task.copy()
        task.args = arguments
        action = actions.get(
            name,
            task=task,
            connection=self._connection,
            play_context=self._play_context,
            loader=self._loader,
            templar=self._templar,
            shared_loader_obj=self._shared_loader_obj,
        )
        done = action.run(task_vars=variables)
        return done
