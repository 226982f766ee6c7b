"""Deployments of an older commit, recorded, and how a machine gets one."""

from __future__ import annotations

import subprocess
from pathlib import Path

from testinfra.host import Host

FOLDER = Path(__file__).parent
LABELLED = "--quiet --filter label=jupyterhub-ansible.project"
REMOVE = f"""
docker ps --all {LABELLED} | xargs -r docker rm --force --volumes
docker network ls {LABELLED} | xargs -r docker network rm
docker volume ls {LABELLED} | xargs -r docker volume rm
cd /etc/systemd/system
for unit in jupyterhub-*.service; do [ ! -e "$unit" ] || systemctl --quiet disable --now "$unit"; done
rm -rf /etc/systemd/system/jupyterhub-*.service /srv/jupyterhub /run/jupyterhub*
! command -v nft || nft delete table inet jupyterhub_fence || :
"""


def remove(host: Host) -> None:
    """Remove what this project has on a machine, except engine and images."""
    host.check_output("sh -ec %s", REMOVE)


def become(host: Host, recorded: str) -> None:
    """Make of a machine one that was deployed by the commit of which the archive was recorded.

    What this project has on the machine now is removed, except engine and images.
    """
    machine = host.backend.name
    for name in ("recorded.py", f"{recorded}.tar.gz"):
        subprocess.run(["docker", "cp", FOLDER / name, f"{machine}:/srv/"], check=True, capture_output=True)
    remove(host)
    host.check_output("python3 /srv/recorded.py restore %s", f"/srv/{recorded}.tar.gz")
    host.check_output("rm /srv/recorded.py %s", f"/srv/{recorded}.tar.gz")
