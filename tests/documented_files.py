"""docs/what-a-run-does.md lists every file that a deployment leaves on a machine, with its owner and mode."""

from __future__ import annotations

import re
from collections.abc import Iterator
from fnmatch import fnmatchcase

from project import PROJECT
from testinfra.host import Host

PAGE = PROJECT / "docs/what-a-run-does.md"
ROW = re.compile(r"^\| (`/.*?`) \| (\w+) \| (\d{4}) \|", re.MULTILINE)
# Without links, which are systemd's.
FIND = r"""
find /srv /etc /run /var/lib/jupyterhub-ansible -xdev \( -path '*jupyterhub*' -o -path /etc/docker/daemon.json \) \
  \( -type d -printf '%p/ %U 0%m\n' -o -type f -printf '%p %U 0%m\n' \)
"""


def documented() -> Iterator[str]:
    """Yield ``path owner mode``; the path is a pattern, and that of a folder ends with a slash."""
    for paths, owner, mode in ROW.findall(PAGE.read_text()):
        for path in re.findall(r"`(.*?)`", paths):
            yield f"{path} {owner} {mode}"


def undocumented(host: Host, least: int) -> list[str]:
    """Return the files on a machine that the page does not list; fail if there are fewer than `least` at all."""
    found = {line.replace(" 0 ", " root ") for line in host.check_output(FIND).splitlines()}
    assert len(found) > least
    return sorted(line for line in found if not any(fnmatchcase(line, row) for row in documented()))
