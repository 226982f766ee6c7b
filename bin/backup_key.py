"""Show the key of a Hub's backups: `make backup-key`.

On a terminal only: a pipe, a log and a continuous integration would keep it.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys

FILE = "{{ jupyterhub_root | default('/srv/' ~ (jupyterhub_name | default('jupyterhub'))) }}/backup/secrets/password"
KEEP = """Put it into a password manager, or on paper: not onto the machine that it is for.
Without it, nobody can read the backups of a lost machine.  Then set key_is_kept: true in backup_plan."""


class RefusedError(Exception):
    """The key is not shown; says why, with the fix."""


def refuse_others(terminal: bool, environment: dict[str, str]) -> None:
    """Refuse to show the key to anything but a person.

    Raises:
        RefusedError: it is not a terminal, or that of a continuous integration.
    """
    if not terminal or environment.get("CI"):
        raise RefusedError(
            "The key is shown on a terminal only, so that no file or log has it: run make backup-key in one"
        )


def keys(inventory: str, arguments: list[str]) -> dict[str, str]:
    """Return the key of each host's backups.

    Raises:
        RefusedError: a host has none, or does not answer.
    """
    # The module's result is in its output; Ansible logs the name of the file only.
    command = ["ansible", "all", "--inventory", inventory, "--become", "--module-name", "ansible.builtin.command"]
    command += ["--args", f"cat {FILE}", *arguments]
    environment = {**os.environ, "ANSIBLE_STDOUT_CALLBACK": "minimal", "ANSIBLE_NOCOLOR": "true"}
    for name in ("ANSIBLE_FORCE_COLOR", "ANSIBLE_LOG_PATH"):
        environment.pop(name, None)
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=False)
    found = dict(re.findall(r"^(\S+) \| CHANGED \| rc=0 >>\n(\S+)$", done.stdout, re.MULTILINE))
    if done.returncode or not found:
        why = re.sub(r"^(\S+ \| CHANGED.*\n).*$", r"\1***", done.stdout, flags=re.MULTILINE).strip()
        raise RefusedError(f"{why}\nThere is no key: set backup_plan, and deploy (docs/how-to/backup.md)")
    return found


def main() -> str | None:
    """Show the keys; return a message if that is refused (`sys.exit` prints it)."""
    try:
        refuse_others(sys.stdout.isatty(), dict(os.environ))
        for host, key in keys(sys.argv[1], sys.argv[2:]).items():
            print(f"{host}:  {key}")
        print(KEEP)
    except RefusedError as error:
        return str(error)
    return None


if __name__ == "__main__":
    sys.exit(main())
