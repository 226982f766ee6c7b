"""Installs Debian's packages so that they can be removed later without harm to anything else.

Used by the modules `packages` and `image_builds`.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

from . import docker_rules, machine_record

ENGINES = ("docker.io", "docker-ce")
STATUS = Path("/var/lib/dpkg/status")
# In the output of apt-get --simulate: a package that is not installed; one that would be upgraded has its version
# in brackets here.
NEW = re.compile(r"^Inst (\S+) \((\S+)", re.MULTILINE)
TOUCHED = re.compile(r"^(?:Inst|Remv|Purg) (\S+)", re.MULTILINE)
OPTIONS = ("--yes", "-q", "-o", "DPkg::Lock::Timeout=300")
# Configuration files that were edited are kept.
INSTALL = ("--no-install-recommends", "-o", "Dpkg::Options::=--force-confdef", "-o", "Dpkg::Options::=--force-confold")
ENVIRONMENT = {"DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8"}
# Not Recommends: what was there before a run did without.
NEEDS = ("Depends", "Pre-Depends")

Run = Callable[[list[str]], str]
"""Runs a command and returns its output; raises an exception if the command fails."""


def said(*command: str) -> str:
    """Return a command's output, "" if it fails or does not exist."""
    path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, env={"PATH": path})
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout if done.returncode == 0 else ""


def install(wanted: Sequence[str], run: Run, record: Path = machine_record.RECORD) -> None:
    """Install packages, and record before that which ones are new, dependencies included.

    Before an engine is installed, which sets them, the firewall's policies are recorded as well.
    """
    command = ["apt-get", *OPTIONS, *INSTALL, "install", *wanted]
    added = dict(NEW.findall(run([*command, "--simulate"])))
    machine_record.remember(machine_record.PACKAGES, added, record)
    machine_record.remember(machine_record.ASKED, {name: "" for name in wanted if name in added}, record)
    if added.keys() & {*ENGINES}:
        machine_record.remember(machine_record.POLICIES, docker_rules.policies(said), record)
    run(command)


def touched_beside(names: Sequence[str], run: Run) -> list[str]:
    """Return what apt would remove or install beside these packages, to remove them.

    That is nothing as far as dpkg's status file tells (`removable`).  But apt knows more: packages whose installation
    is unfinished, and those of other architectures.
    """
    said = run(["apt-get", *OPTIONS, "--simulate", "remove", *names]) if names else ""
    return sorted({*TOUCHED.findall(said)} - {*names})


def refusal(names: Sequence[str], beside: Sequence[str]) -> str:
    """Return why packages cannot be removed."""
    return (
        f"To remove the packages that runs installed, apt would change others as well: {', '.join(beside)}. Fix: finish"
        " what dpkg has left unfinished (dpkg --configure -a), and see what apt says: apt-get --simulate remove"
        f" {' '.join(names)}"
    )


def installed(status: Path = STATUS) -> dict[str, dict[str, str]]:
    """Return the fields of all installed packages, by name."""
    found = {}
    for stanza in status.read_text(errors="replace").split("\n\n"):
        # Continued lines are not needed.
        fields = dict(re.findall(r"^([\w-]+): (.*)$", stanza, re.MULTILINE))
        if fields.get("Status", "").endswith(" installed"):
            found[fields["Package"]] = fields
    return found


def names(field: str) -> set[str]:
    """Return the packages that a field names: `a (>= 1) | b, c:any`."""
    return {part.split()[0].partition(":")[0] for part in re.split(r"[,|]", field) if part.strip()}


def removable(
    recorded: Collection[str], packages: Mapping[str, Mapping[str, str]], wanted: Mapping[str, str] | None = None
) -> tuple[list[str], dict[str, str]]:
    """Return which recorded packages can be removed without removing any other; and which stay, each with the reason.

    Args:
        recorded: packages that runs installed.
        packages: all installed ones, with their fields.
        wanted: those that must stay anyway, with the reasons.
    """
    kept = {name: why for name, why in (wanted or {}).items() if name in packages and name in recorded}
    going = {name for name in recorded if name in packages} - kept.keys()
    while True:
        needed: dict[str, str] = {}
        for name in packages.keys() - going:
            fields = packages[name]
            for each in set().union(*(names(fields.get(field, "")) for field in NEEDS)):
                needed.setdefault(each, name)
        staying = {}
        for name in going:
            provided = {name, *names(packages[name].get("Provides", ""))}
            if users := sorted(needed[each] for each in provided & needed.keys()):
                staying[name] = f"needed by {users[0]}"
        if not staying:
            return sorted(going), kept
        kept |= staying
        going -= staying.keys()
