#!/usr/bin/python
"""Report on what a deployment needs of the machine; needs nothing but Python, and works where there is no engine.

First it takes the lease on the machine, where one is asked for: what it reports then stays true.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.certificates import certificate_trouble
from ..module_utils.docker_engine import ask
from ..module_utils.docker_engine import gather as gather_of_engine
from ..module_utils.kernel_tables import parse_listeners, parse_memory, parse_routes, program_of, read
from ..module_utils.lease import take_lease

DOCUMENTATION = r"""
module: host_report
short_description: Report on what a deployment needs of the machine
description:
  - Looks at disk, memory, listeners, addresses and routes, and asks the engine who bears our names. Changes nothing.
  - Before that, takes the lease that keeps other runs from the machine; not in check mode.
options:
  name: {description: Prefix of everything that is ours., type: str, required: true}
  address: {description: Address that the proxy's public port is published on., type: str, required: true}
  ports: {description: "Ports that are to be published, as 443/udp.", type: list, elements: str, required: true}
  host: {description: The name that browsers use, type: str, default: ""}
  certificate: {description: "Files of a certificate: certificate_file, key_file, ca_file.", type: dict, default: {}}
  root: {description: Folder of configuration and secrets., type: path, required: true}
  folders: {description: Folders that users' servers are to see., type: list, elements: str, default: []}
  socket: {description: The engine's socket., type: path, default: /var/run/docker.sock}
  looks:
    description: "Looks at the machine by name: command (of the shell), stamp (file that remembers an earlier look)."
    type: dict
    default: {}
  lease: {description: "The lease to take: path, by, token, seconds. None is taken without it.", type: dict}
author: The jupyterhub-ansible authors
"""

RETURN = r"""
facts: {description: "As Ansible has them: distribution, architecture, service_mgr.", type: dict, returned: always}
engine: {description: What the module engine_info returns., type: dict, returned: always}
holder: {description: "The run that has the lease: by, since, renewed.", type: dict, returned: alone when there is one}
euid: {description: The user id that changes would be made with., type: int, returned: always}
memory_mb: {description: The machine's memory., type: int, returned: always}
processors: {description: The machine's processors., type: int, returned: always}
disks: {description: Path to the free MB where it is or will be., type: dict, returned: always}
absent_folders: {description: Those of the folders that are not there., type: list, returned: always}
nvidia_hook: {description: The engine can give GPUs to containers., type: bool, returned: always}
address_is_local: {description: The machine has that address., type: bool, returned: always}
leads_to: {description: The addresses of the host., type: list, returned: always}
leads_elsewhere: {description: Those of them that are not this machine's., type: list, returned: always}
absent_files: {description: Those of the certificate's files that are not there., type: list, returned: always}
certificate_trouble: {description: Why the certificate cannot be used for the host, or "", type: str, returned: always}
listeners: {description: "Who listens on the ports: port, address and program.", type: list, returned: always}
networks: {description: "IPv4 networks in use: network and interface or Docker network.", type: list, returned: always}
publishers: {description: "Containers that publish them: port, name, addresses, ours.", type: list, returned: always}
guests: {description: "Others' containers on our networks: container and network.", type: list, returned: always}
bridge_holder: {description: "Who has the bridge of our users' network, if not that.", type: str, returned: always}
foreign_root: {description: What is in the root folder if that is not ours., type: str, returned: always}
own_networks: {description: Our networks by name, as the engine describes them., type: dict, returned: always}
own_containers:
  description: "Hub, proxy and ingress by name: container (as the engine describes it), image (the id of what the name
    of its image stands for now), stamp (what was written into /run about it)."
  type: dict
  returned: always
looks:
  description: "By name of the look: now (a hash of what its command says, empty where it fails), was (what is in the
    stamp). Only of those that have a stamp."
  type: dict
  returned: always
has_ingress: {description: A Caddy of ours is there., type: bool, returned: always}
has_coolify: {description: The engine has Coolify's network., type: bool, returned: always}
strangers: {description: Things of the engine that bear our names without our label., type: list, returned: always}
deployed: {description: A Hub of this name is there., type: bool, returned: always}
"""

PROJECT_LABEL = "jupyterhub-ansible.project"
KIND_LABEL = "jupyterhub-ansible.kind"
BRIDGE_OPTION = "com.docker.network.bridge.name"
# One of these is made before anything else in the folder of configuration and secrets.
OUR_FOLDERS = ("builds", "proxy/secrets", "hub/secrets")
COOLIFY = "coolify"
# Of an engine that is not there yet.
DOCKER_ROOT = "/var/lib/docker"
TIMEOUT_S = 5
LOOKS_AT_ONCE = 4
RUN = Path("/run")


def free_mb(path: Path) -> int:
    """Return the free disk where a folder is or will be made."""
    while not path.exists():
        path = path.parent
    return shutil.disk_usage(path).free // 1_000_000


def is_local(address: str) -> bool:
    """Return whether the machine has an address, which it has if a socket can be bound to it."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.bind((address, 0))
    except OSError:
        return False
    return True


def addresses_of(host: str) -> list[str]:
    """Return the addresses of a name, none where it does not resolve."""
    try:
        return sorted({str(entry[4][0]) for entry in socket.getaddrinfo(host, None)}) if host else []
    except (OSError, UnicodeError):
        return []


def name_of(container: dict[str, Any]) -> str:
    """Return a container's name; those with a second slash are links to it."""
    names = [name.lstrip("/") for name in container.get("Names") or []]
    return next((name for name in names if "/" not in name), "")


def is_ours(thing: dict[str, Any], name: str) -> bool:
    """Return whether a thing of the engine carries our label."""
    return (thing.get("Labels") or {}).get(PROJECT_LABEL) == name


def publishers(containers: list[dict[str, Any]], name: str, port: str) -> Iterator[dict[str, Any]]:
    """Yield the containers that publish a port of the machine."""
    for container in containers:
        addresses = [
            entry.get("IP", "")
            for entry in container.get("Ports") or []
            if f"{entry.get('PublicPort')}/{entry.get('Type')}" == port
        ]
        if addresses:
            labels = container.get("Labels") or {}
            ours = is_ours(container, name) and labels.get(KIND_LABEL) in ("proxy", "ingress")
            yield {"port": port, "name": name_of(container), "addresses": addresses, "ours": ours}


def strangers(things: dict[str, dict[str, dict[str, Any]]], name: str) -> Iterator[str]:
    """Yield the things (by kind, name: labels) that bear one of our names without our label."""
    names = {
        "container": (f"{name}-hub", f"{name}-proxy", f"{name}-ingress"),
        "network": (f"{name}-control", f"{name}-users", f"{name}-ingress"),
        "volume": (f"{name}-hub",),
    }
    for kind, ours in names.items():
        for each in ours:
            labels = things[kind].get(each)
            if labels is not None and labels.get(PROJECT_LABEL) != name:
                yield f"{kind} {each}"


def guests(containers: list[dict[str, Any]], name: str) -> Iterator[dict[str, str]]:
    """Yield the containers without our label that are on one of our networks."""
    for container in containers:
        if not is_ours(container, name):
            joined = (container.get("NetworkSettings") or {}).get("Networks") or {}
            for network in sorted({f"{name}-control", f"{name}-users", f"{name}-ingress"} & set(joined)):
                yield {"container": name_of(container), "network": network}


def bridge_holder(networks: list[dict[str, Any]], name: str) -> str:
    """Return who has the bridge of our users' network, if that is not this network."""
    for network in networks:
        if (network.get("Options") or {}).get(BRIDGE_OPTION) == f"br-{name}":
            ours = network["Name"] == f"{name}-users"
            return "" if ours else f"the network {network['Name']}"
    # Docker would take it over.
    return "a network interface that is no Docker network's" if Path(f"/sys/class/net/br-{name}").exists() else ""


def subnets(networks: list[dict[str, Any]], name: str) -> Iterator[dict[str, str]]:
    """Yield the engine's IPv4 networks, also those that the machine has no route to (macvlan); "" by which is ours."""
    for network in (each for each in networks if each.get("Scope") != "swarm"):
        ours = network["Name"] == f"{name}-users" and is_ours(network, name)
        for config in (network.get("IPAM") or {}).get("Config") or []:
            if "." in config.get("Subnet", ""):
                yield {
                    "network": config["Subnet"],
                    "interface": "" if ours else f"the Docker network {network['Name']}",
                }


def own_containers(socket_path: str, things: dict[str, dict[str, Any]], name: str) -> dict[str, dict[str, Any]]:
    """Return what the engine knows of the Hub, the proxy and the ingress, as far as they are there and ours."""
    found = {}
    for each in (f"{name}-hub", f"{name}-proxy", f"{name}-ingress"):
        ours = things.get(each, {}).get(PROJECT_LABEL) == name
        container = ask(socket_path, f"/containers/{each}/json", TIMEOUT_S) if ours else None
        if container:
            image = ask(socket_path, f"/images/{container['Config']['Image']}/json", TIMEOUT_S) or {}
            stamp = read(f"{RUN}/{each}.settled").strip()
            found[each] = {"container": container, "image": image.get("Id", ""), "stamp": stamp}
    return found


def look(command: str) -> str:
    """Return a hash of what a command says, as the shell's sha256sum has it; "" where it fails."""
    done = subprocess.run(["/bin/sh", "-c", command], stdin=subprocess.DEVNULL, capture_output=True, check=False)
    return hashlib.sha256(done.stdout.rstrip(b"\n")).hexdigest() if done.returncode == 0 else ""


def look_around(looks: dict[str, dict[str, str]]) -> dict[str, dict[str, str]]:
    """Return what each look at the machine shows, and what an earlier one did."""
    stamps = {name: read(each["stamp"]) for name, each in looks.items()}
    known = [name for name, stamp in stamps.items() if stamp]
    with ThreadPoolExecutor(LOOKS_AT_ONCE) as pool:
        now = pool.map(look, [looks[name]["command"] for name in known])
        return {name: {"now": each, "was": stamps[name]} for name, each in zip(known, now, strict=True)}


def facts(release: str, architecture: str) -> dict[str, str]:
    """Return what Ansible's own module `setup` would say of these.

    Args:
        release: text of os-release(5).
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


def ask_engine(socket_path: str, name: str, ports: list[str]) -> dict[str, Any]:
    """Return what the engine knows of our ports and names; nothing where none answers."""
    containers = ask(socket_path, "/containers/json?all=1", TIMEOUT_S) or []
    networks = ask(socket_path, "/networks", TIMEOUT_S)
    volume = ask(socket_path, f"/volumes/{name}-hub", TIMEOUT_S)
    things = {
        "container": {name_of(each): each.get("Labels") or {} for each in containers},
        "network": {each["Name"]: each.get("Labels") or {} for each in networks or []},
        "volume": {volume["Name"]: volume.get("Labels") or {}} if volume else {},
    }
    return {
        "publishers": [each for port in ports for each in publishers(containers, name, port)],
        "strangers": list(strangers(things, name)),
        "guests": list(guests(containers, name)),
        # Without an answer nobody can tell whose it is.
        "bridge_holder": bridge_holder(networks, name) if networks is not None else "",
        "subnets": list(subnets(networks or [], name)),
        "own_networks": {each["Name"]: each for each in networks or [] if is_ours(each, name)},
        "own_containers": own_containers(socket_path, things["container"], name),
        "has_ingress": any(
            things[kind].get(f"{name}-ingress", {}).get(PROJECT_LABEL) == name for kind in ("container", "network")
        ),
        "has_coolify": COOLIFY in things["network"],
        "deployed": things["container"].get(f"{name}-hub", {}).get(PROJECT_LABEL) == name,
    }


def foreign_root(root: Path, name: str) -> str:
    """Return what is in the folder of configuration and secrets, if that is not ours."""
    try:
        owner = json.loads((root / "hub/hub.json").read_text())["name"]
    except (OSError, ValueError, TypeError, KeyError):
        owner = name  # none yet, or damaged: then it is written anew
    if owner != name:
        return f"the Hub {owner}"
    if not root.exists() or any((root / ours).exists() for ours in OUR_FOLDERS):
        return ""
    if not root.is_dir():
        return "a file"
    found = sorted(path.name for path in root.iterdir() if path.name != "lost+found")
    return ", ".join(found[:3]) + (", ..." if len(found) > 3 else "")


def gather(options: dict[str, Any]) -> dict[str, Any]:
    """Return everything that is asked."""
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
    engine = ask_engine(options["socket"], name, options["ports"])
    # The engine's own are told by their name instead of their bridge's.
    known = engine.pop("subnets")
    taken = {each["network"] for each in known}
    routes = [each for each in parse_routes(read("/proc/net/route")) if each["network"] not in taken]
    return {
        "facts": facts(read("/etc/os-release"), os.uname().machine),
        "engine": about,
        "euid": os.geteuid(),
        "memory_mb": parse_memory(read("/proc/meminfo")),
        "processors": os.cpu_count() or 1,
        "disks": {path: free_mb(Path(path)) for path in (about.get("root_dir") or DOCKER_ROOT, options["root"])},
        "absent_folders": [folder for folder in options["folders"] if not Path(folder).is_dir()],
        "nvidia_hook": shutil.which("nvidia-container-runtime-hook") is not None,
        "address_is_local": is_local(options["address"]),
        "leads_to": found,
        "leads_elsewhere": [address for address in found if not is_local(address)],
        "absent_files": [kind for kind, path in files.items() if not Path(path).is_file()],
        "certificate_trouble": certificate_trouble(files, options["host"]),
        "listeners": [
            {"port": port, "address": address, "program": program_of(inode)} for port, address, inode in sockets
        ],
        "networks": routes + [each for each in known if each["interface"]],
        "foreign_root": foreign_root(root, name),
        "looks": look_around(options["looks"]),
        **engine,
        # An engine that is stopped is no reason to ask for the room of a first deployment.
        "deployed": engine["deployed"] or (root / "hub/hub.json").exists(),
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
            "socket": {"type": "path", "default": "/var/run/docker.sock"},
            "looks": {"type": "dict", "default": {}},
            "lease": {"type": "dict", "no_log": False},
        },
        supports_check_mode=True,
    )
    # Without root a deployment is refused, anyway.
    if module.params["lease"] and not module.check_mode and os.geteuid() == 0:
        holder = take_lease(module.params["lease"])
        if holder:
            module.exit_json(changed=False, holder=holder)
    module.exit_json(changed=False, **gather(module.params))


if __name__ == "__main__":
    main()
