#!/usr/bin/python
"""Report what a deployment needs to know of the machine; needs nothing but Python, and works without an engine.

If asked to, it first takes the lease on the machine, so that its report stays true.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import socket
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.certificates import certificate_problem
from ..module_utils.docker_engine import gather as gather_of_engine
from ..module_utils.engine_objects import TIMEOUT_S, find_objects
from ..module_utils.folder_access import unusable
from ..module_utils.hub_folder import foreign_root, foreign_units, has_other_key
from ..module_utils.kernel_tables import parse_listeners, parse_memory, program_of, read, routes
from ..module_utils.lease import take_lease

DOCUMENTATION = r"""
module: host_report
short_description: Report what a deployment needs to know of the machine
description:
  - Reads disk, memory, listeners, addresses and routes, and queries the engine for objects with our names. Changes
    nothing.
  - Before that, takes the lease that keeps other runs from changing the machine; not in check mode.
options:
  name: {description: Prefix of everything that is ours., type: str, required: true}
  address: {description: Address that the proxy's public port is published on., type: str, required: true}
  ports: {description: "Ports to publish, such as 443/udp.", type: list, elements: str, required: true}
  host: {description: The name that browsers use, type: str, default: ""}
  certificate: {description: "Files of a certificate: certificate_file, key_file, ca_file.", type: dict, default: {}}
  root: {description: Folder of configuration and secrets., type: path, required: true}
  folders: {description: "Folders to mount into users' servers.", type: list, elements: str, default: []}
  shared_folders: {description: "Folders that users share, by path: uid, write.", type: dict, default: {}}
  socket: {description: The engine's socket., type: path, default: /var/run/docker.sock}
  looks:
    description: "Shell commands by name that show a part's state: command, stamp (file with an earlier result)."
    type: dict
    default: {}
  backup_password: {description: "The key of the backup's repository, if it is given.", type: str}
  lease: {description: "The lease to take, if any: path, by, token, seconds.", type: dict}
author: The jupyterhub-ansible authors
"""

RETURN = r"""
facts: {description: "As Ansible's facts: distribution, architecture, service_mgr.", type: dict, returned: always}
engine: {description: What the module engine_info returns., type: dict, returned: always}
holder: {description: "The run that has the lease: by, since, renewed.", type: dict, returned: alone when there is one}
euid: {description: The user id of the tasks., type: int, returned: always}
memory_mb: {description: The machine's memory., type: int, returned: always}
processors: {description: The machine's processors., type: int, returned: always}
disks: {description: "Free MB by path, existing or not.", type: dict, returned: always}
absent_folders: {description: Those of the folders that do not exist., type: list, returned: always}
unusable_folders: {description: Why shared folders cannot be used as wanted, type: dict, returned: always}
nvidia_hook: {description: The engine can give GPUs to containers., type: bool, returned: always}
address_is_local: {description: The machine has that address., type: bool, returned: always}
resolves_to: {description: The addresses of the host., type: list, returned: always}
resolves_elsewhere: {description: "Those of them that are not this machine's.", type: list, returned: always}
absent_files: {description: "Those of the certificate's files that do not exist.", type: list, returned: always}
certificate_problem: {description: Why the certificate cannot be used for the host, or "", type: str, returned: always}
listeners: {description: "What listens on the ports: port, address and program.", type: list, returned: always}
networks:
  description: "IPv4 networks in use: network; interface or Docker network; for routes, the routing table's number."
  type: list
  returned: always
publishers: {description: "Containers that publish them: port, name, addresses, ours.", type: list, returned: always}
foreign_containers: {description: "Others on our networks: container and network.", type: list, returned: always}
bridge_holder: {description: "What else uses the bridge of our users' network.", type: str, returned: always}
foreign_root: {description: "What is in the root folder, if it is not ours.", type: str, returned: always}
own_networks: {description: Our networks by name, as the engine describes them., type: dict, returned: always}
own_containers:
  description: "Hub, proxy, ingress and the audit trail's recorder by name: container (as the engine describes it),
    image (the id that the name of its image has now), stamp (what was written into /run about it)."
  type: dict
  returned: always
looks:
  description: "By name: now (a hash of the command's output, empty if it failed), was (the content of the stamp). Only
    for those with a stamp."
  type: dict
  returned: always
servers_running: {description: A user's server is running., type: bool, returned: always}
has_ingress: {description: There is a Caddy of ours., type: bool, returned: always}
has_backup: {description: There is a script that makes backups., type: bool, returned: always}
has_other_key: {description: There is a repository with another key than the given one., type: bool, returned: always}
foreign_units: {description: Units with the names of our backup that no run wrote., type: list, returned: always}
has_scheduler: {description: "Something can start a backup at a time: systemd, or cron.", type: bool, returned: always}
has_coolify: {description: The engine has Coolify's network., type: bool, returned: always}
name_conflicts: {description: Objects of the engine with our names but not our label., type: list, returned: always}
deployed: {description: There is a Hub of this name., type: bool, returned: always}
"""

# Where an engine that is not installed yet will store its data.
DOCKER_ROOT = "/var/lib/docker"
LOOKS_AT_ONCE = 4


def free_mb(path: Path) -> int:
    """Return the free disk space of a folder, which need not exist yet."""
    while not path.exists():
        path = path.parent
    return shutil.disk_usage(path).free // 1_000_000


def is_local(address: str) -> bool:
    """Return whether the machine has an address, that is, whether a socket can be bound to it."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.bind((address, 0))
    except OSError:
        return False
    return True


def addresses_of(host: str) -> list[str]:
    """Return the addresses of a name, none if it does not resolve."""
    try:
        return sorted({str(entry[4][0]) for entry in socket.getaddrinfo(host, None)}) if host else []
    except (OSError, UnicodeError):
        return []


def look(command: str) -> str:
    """Return a hash of a command's output, as sha256sum prints it; "" if the command fails."""
    done = subprocess.run(["/bin/sh", "-c", command], stdin=subprocess.DEVNULL, capture_output=True, check=False)
    return hashlib.sha256(done.stdout.rstrip(b"\n")).hexdigest() if done.returncode == 0 else ""


def run_looks(looks: dict[str, dict[str, str]]) -> dict[str, dict[str, str]]:
    """Return the current and the earlier result of each look at the machine."""
    stamps = {name: read(each["stamp"]) for name, each in looks.items()}
    known = [name for name, stamp in stamps.items() if stamp]
    with ThreadPoolExecutor(LOOKS_AT_ONCE) as pool:
        now = pool.map(look, [looks[name]["command"] for name in known])
        return {name: {"now": each, "was": stamps[name]} for name, each in zip(known, now, strict=True)}


def facts(release: str, architecture: str) -> dict[str, str]:
    """Return these facts as Ansible's own module `setup` does.

    Args:
        release: content of os-release(5).
        architecture: as the kernel names it.
    """
    fields = dict(line.partition("=")[::2] for line in release.splitlines())
    name, number = (fields.get(key, "").strip("\"'") for key in ("ID", "VERSION_ID"))
    systemd = Path("/run/systemd/system").is_dir()
    return {
        "distribution": name.capitalize(),
        "distribution_version": number,
        "distribution_major_version": number.partition(".")[0],
        "architecture": architecture,
        "service_mgr": "systemd" if systemd else read("/proc/1/comm").strip(),
    }


def gather(options: dict[str, Any]) -> dict[str, Any]:
    """Return the whole report."""
    sockets = [
        (port, *entry)
        for port in options["ports"]
        for family in ("", "6")
        for entry in parse_listeners(read(f"/proc/net/{port.partition('/')[2]}{family}"), port)
    ]
    found = addresses_of(options["host"])
    files = {kind: path for kind, path in options["certificate"].items() if kind.endswith("_file")}
    root, name = Path(options["root"]), options["name"]
    about = gather_of_engine(options["socket"], TIMEOUT_S)
    objects = find_objects(options["socket"], name, options["ports"])
    # The engine's networks are reported by their own name, not by that of their bridge.
    known = objects.pop("subnets")
    taken = {each["network"] for each in known}
    reached = [each for each in routes() if each["network"] not in taken]
    return {
        "facts": facts(read("/etc/os-release"), os.uname().machine),
        "engine": about,
        "euid": os.geteuid(),
        "memory_mb": parse_memory(read("/proc/meminfo")),
        "processors": os.cpu_count() or 1,
        "disks": {path: free_mb(Path(path)) for path in (about.get("root_dir") or DOCKER_ROOT, options["root"])},
        "absent_folders": [folder for folder in options["folders"] if not Path(folder).is_dir()],
        "unusable_folders": {
            path: problem for path, wanted in options["shared_folders"].items() if (problem := unusable(path, **wanted))
        },
        "nvidia_hook": shutil.which("nvidia-container-runtime-hook") is not None,
        "address_is_local": is_local(options["address"]),
        "resolves_to": found,
        "resolves_elsewhere": [address for address in found if not is_local(address)],
        "absent_files": [kind for kind, path in files.items() if not Path(path).is_file()],
        "certificate_problem": certificate_problem(files, options["host"]),
        "listeners": [
            {"port": port, "address": address, "program": program_of(inode)} for port, address, inode in sockets
        ],
        "networks": reached + [each for each in known if each["interface"]],
        "foreign_root": foreign_root(root, name),
        "has_scheduler": Path("/run/systemd/system").is_dir() or Path("/etc/cron.d").is_dir(),
        "has_other_key": has_other_key(root, options["backup_password"]),
        "foreign_units": foreign_units(root, name),
        "has_backup": (root / "backup/backup").exists(),
        "looks": run_looks(options["looks"]),
        **objects,
        # With a stopped engine this still counts as deployed, so that less free disk is required.
        "deployed": objects["deployed"] or (root / "hub/hub.json").exists(),
    }


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "address": {"type": "str", "required": True},
            "ports": {"type": "list", "elements": "str", "required": True},
            "host": {"type": "str", "default": ""},
            "certificate": {"type": "dict", "default": {}},
            "root": {"type": "path", "required": True},
            "folders": {"type": "list", "elements": "str", "default": []},
            "shared_folders": {"type": "dict", "default": {}},
            "socket": {"type": "path", "default": "/var/run/docker.sock"},
            "looks": {"type": "dict", "default": {}},
            "backup_password": {"type": "str", "no_log": True},
            "lease": {"type": "dict", "no_log": False},
        },
        supports_check_mode=True,
    )
    # Without root a deployment is refused anyway.
    if module.params["lease"] and not module.check_mode and os.geteuid() == 0:
        holder = take_lease(module.params["lease"])
        if holder:
            module.exit_json(changed=False, holder=holder)
    module.exit_json(changed=False, **gather(module.params))


if __name__ == "__main__":
    main()
