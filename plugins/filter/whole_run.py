"""Filter that refuses a run that could not do everything, before its first task.

It stands in the `hosts` of the play: `--start-at-task` would skip a task, and an older Ansible cannot even load the
plugins of the first one.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from ansible import constants, context
from ansible.errors import AnsibleFilterError
from ansible.release import __version__
from ansible.utils.display import Display

PROJECT = Path(__file__).resolve().parents[2]
LEAST = (2, 19)
# Options of ansible-playbook, with the values that leave nothing out.
PARTS: dict[str, Collection[str]] = {"tags": ("all",), "skip_tags": (), "start_at_task": ()}
# Molecule always skips tags of its own (molecule-notest, notest, ...), which no task of ours has.
MOLECULE = "notest"


def whole_run(pattern: str, hosts: Collection[str]) -> str:
    """Return the pattern of hosts unchanged.

    Args:
        pattern: the hosts of the play.
        hosts: all hosts of the inventory.

    Raises:
        AnsibleFilterError: Ansible is too old, the run is limited to a part, or there is no host.
    """
    if problem := too_old() or part() or nowhere(hosts):
        raise AnsibleFilterError(f"{problem} Nothing was changed.")
    if not constants.CONFIG_FILE:
        Display().warning(
            "Ansible does not use this project's ansible.cfg, so messages are harder to read, and it does not find the"
            f" vault's password. To use it: export ANSIBLE_CONFIG='{PROJECT}/ansible.cfg'"
        )
    return pattern


def too_old() -> str:
    """Return what to do about an Ansible that is too old, "" if it is not."""
    if tuple(int(number) for number in __version__.split(".")[:2]) >= LEAST:
        return ""
    least = ".".join(map(str, LEAST))
    return (
        f"this needs ansible-core {least} or newer, and this is {__version__}. Fix: run make deploy in {PROJECT}, which"
        f" installs one into .venv, or pip install 'ansible-core>={least}'."
    )


def part() -> str:
    """Return what to do about options that select some of the tasks, "" if there are none."""
    given = [name for name, harmless in PARTS.items() if not _values(context.CLIARGS.get(name)) <= {*harmless}]
    if not given:
        return ""
    options = " and ".join(f"--{name.replace('_', '-')}" for name in given)
    return (
        f"{options} would do a part of the run only, but its roles need each other, and the checks of preflight. Fix:"
        " leave that out; what is already as it should be takes no time."
    )


def _values(option: Collection[str] | None) -> set[str]:
    values = [option] if isinstance(option, str) else option or ()
    return {each for each in values if not each.endswith(MOLECULE)}


def nowhere(hosts: Collection[str]) -> str:
    """Return what to do about an inventory without hosts, "" if there are any."""
    if hosts:
        return ""
    return f"the inventory has no hosts. Fix: name one, such as -i '{PROJECT}/inventory/local.yml' for this machine."


class FilterModule:
    """What Ansible loads."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters by name."""
        return {"whole_run": whole_run}
