#!/usr/bin/python
"""Report what this project has put on a machine, and what of it can be removed."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils import debian_packages, docker_rules, engine_removal, machine_record
from ..module_utils.debian_packages import said
from ..module_utils.docker_engine import MARKER, REPOSITORY, gather
from ..module_utils.engine_files import (
    engine_package,
    existing,
    in_data_root,
    is_history,
    left_by_packages,
    other_users_of_containerd,
    without_engine,
)
from ..module_utils.hub_folder import foreign_root, is_of_backup
from ..module_utils.kernel_tables import read
from ..module_utils.lease import is_locked, take_lease

DOCUMENTATION = r"""
module: removal_plan
short_description: Report what this project has put on a machine, and what of it can be removed
description:
  - Looks for everything that belongs to one Hub, and for what all Hubs on the machine share, by labels, names and the
    record of earlier runs. Changes nothing.
  - Before that, takes the lease that keeps other runs from changing the machine; not in check mode.
options:
  name: {description: The Hub's name., type: str, required: true}
  root: {description: Its folder of configuration and secrets., type: path, required: true}
  delete_data: {description: Whether data is to be removed as well., type: bool, default: false}
  stamps: {description: Files in /run that remember what is settled., type: list, elements: path, default: []}
  socket: {description: The engine's socket., type: path, default: /var/run/docker.sock}
  lease: {description: "The lease to take: path, by, token and seconds.", type: dict}
author: The jupyterhub-ansible authors
"""

RETURN = r"""
holder: {description: The run that has the lease., type: dict, returned: if another one has it}
is_backing_up: {description: Whether a backup or a restore is running., type: bool, returned: always}
servers: {description: Users whose servers are running., type: list, returned: always}
containers: {description: Names of the Hub's containers., type: list, returned: always}
networks: {description: Names of its networks., type: list, returned: always}
images: {description: Its images, and pulled ones., type: list, returned: always}
untagged: {description: Ids of images without a name that builds left., type: list, returned: always}
volumes: {description: Its volumes., type: list, returned: always}
volumes_in_use: {description: Those of them that other containers use., type: list, returned: always}
adopted: {description: Volumes without its label that its servers use., type: list, returned: always}
units: {description: Its units., type: list, returned: always}
tables: {description: Its nftables tables, as family and name., type: list, returned: always}
slices: {description: Its units of systemd for control groups., type: list, returned: always}
groups: {description: Folders of its control groups without systemd., type: list, returned: always}
files: {description: Its files., type: list, returned: always}
data: {description: Files and folders with its data., type: list, returned: always}
root_is: {description: "What is in its folder, if that belongs to something else.", type: str, returned: always}
other_hubs: {description: Names of other Hubs on the machine., type: list, returned: always}
shared: {description: What all Hubs share; nothing if there is another one., type: dict, returned: always}
engine: {description: "absent, silent, foreign, given-back, removed or kept.", type: str, returned: always}
engine_users: {description: What else uses the engine., type: list, returned: always}
data_root: {description: Where the engine keeps volumes., type: str, returned: always}
packages: {description: Packages to remove., type: list, returned: always}
packages_beside: {description: What apt would remove with them., type: list, returned: always}
packages_kept: {description: Recorded packages that stay, with the reasons., type: dict, returned: always}
packages_unrecorded: {description: Packages that an older version may have installed., type: list, returned: always}
"""

SYSTEMD, CRON, STAMPS = Path("/etc/systemd/system"), Path("/etc/cron.d"), Path("/var/lib/systemd/timers")
RUN = Path("/run")
# Older versions ran it without the shell.
UNIT = re.compile(r"^ExecStart=(?:/bin/sh )?\S+/proxy/fence watch$", re.MULTILINE)
# Besides the engine's; the last one is what an older version may have installed beside it.
BESIDE = ("nftables", "python3-requests", "mmdebstrap", "debian-archive-keyring")
OUR_CONTAINERS = ("hub", "proxy", "audit", "ingress")
BACKUP = ("backup", "backup.conf", "plan.json", "settings.json", "cache", "work")
SCRIPTS = ("fence", "fence.conf", "fence.shut", "ceiling", "ceiling.conf")
OUR_DATA = ("hub", "proxy", "ingress", "kept.json")
NFTABLES_IS_USED = Path("/etc/systemd/system/sysinit.target.wants/nftables.service")
NO_PACKAGES: dict[str, Any] = {
    "packages": [], "packages_beside": [], "packages_kept": {}, "packages_unrecorded": [],
}  # fmt: skip
# What the init script of the package has to tolerate (role docker).
INIT_DEFAULTS, INIT_LINE = Path("/etc/default/docker"), "ulimit() { command ulimit"


def of_the_hub(name: str, root: Path, stamps: list[str]) -> dict[str, Any]:
    """Return the Hub's traces outside the engine."""
    table = f"{name.replace('-', '_')}_fence"
    groups = {
        path.resolve() for pattern in ("", "*/") for path in Path("/sys/fs/cgroup").glob(f"{pattern}{name}-users")
    }
    slice_name = f"{name}-users.slice"
    # Set by the ceiling, until the machine boots.
    limited = Path("/run/systemd/system.control", f"{slice_name}.d").exists()
    run = [RUN / f"{name}-{each}" for each in ("fence", "fence.lock", "fence-proof", "backup.lock")]
    settled = [RUN / f"{name}-{each}.settled" for each in OUR_CONTAINERS]
    timer, service, cron = (
        SYSTEMD / f"{name}-backup.timer", SYSTEMD / f"{name}-backup.service", CRON / f"{name}-backup"
    )  # fmt: skip
    # The operator may have had others of these names before.
    foreign = {each for each in (timer, service, cron) if each.exists() and not is_of_backup(each, root, name)}
    units = [SYSTEMD / f"{name}-{each}.service" for each in ("fence", "ceiling")]
    units += [each for each in (timer, service) if each not in foreign]
    # Not its key: without it, backups that are elsewhere would be worth nothing.
    backup = [
        *({cron} - foreign),
        *([STAMPS / f"stamp-{name}-backup.timer"] if timer not in foreign else []),
        *(root / "backup" / each for each in BACKUP),
    ]
    return {
        "units": [unit.name for unit in units if unit.exists()],
        "tables": [
            line.partition(" ")[2]
            for line in said("nft", "list", "tables").splitlines()
            if line.split()[1:] in (["inet", table], ["bridge", table])
        ],
        "slices": [slice_name] if limited or said("systemctl", "is-active", slice_name) else [],
        "groups": sorted(map(str, groups)),
        "files": existing(
            *units,
            *backup,
            *run,
            *settled,
            *map(Path, stamps),
            *(root / "proxy" / each for each in SCRIPTS),
            root / "builds",
        ),
        "data": existing(*(root / each for each in OUR_DATA)),
    }


def hubs_by_units(name: str) -> set[str]:
    """Return the names of other Hubs that have a fence."""
    found = {
        unit.name.removesuffix("-fence.service")
        for unit in SYSTEMD.glob("*-fence.service")
        if UNIT.search(read(str(unit)))
    }
    return found - {name}


def shared_by_hubs(record: machine_record.Record) -> dict[str, Any]:
    """Return what all Hubs on the machine share, outside the engine."""
    bridges = Path("/run/jupyterhub-ansible-bridges")
    wanted = dict(line.split() for line in read(str(bridges)).splitlines() if len(line.split()) == 2)
    history = [path for path in map(Path, record.get(machine_record.FOLDERS, {})) if is_history(path)]
    leftovers = [Path("/run/lock/jupyterhub-ansible-images"), Path("/root/.ansible_async")]
    return {
        "files": existing(
            bridges, *history, *(path for path in leftovers if not path.is_dir() or not any(path.iterdir()))
        ),
        "bridges": {
            f"/proc/sys/net/bridge/{name}": value
            for name, value in wanted.items()
            if read(f"/proc/sys/net/bridge/{name}").strip() not in ("", value)
        },
        "images": sorted(record.get(machine_record.IMAGES, {})),
        "recorded": bool(record) or machine_record.RECORD.exists(),
    }


def is_routing() -> bool:
    """Return whether something besides Docker may rely on forwarding: a bridge, a tunnel, a VPN."""
    default = {line.split()[0] for line in read("/proc/net/route").splitlines()[1:] if line.split()[1] == "00000000"}
    links = {path.name for path in Path("/sys/class/net").glob("*") if not (path / "device").exists()}
    return any(not re.match(r"lo$|docker0$|br-|veth|dummy", link) for link in links - default)


def state_of_engine(engine: dict[str, Any], record: machine_record.Record, users: list[str]) -> str:
    """Return what becomes of the engine."""
    recorded = engine_package() in record.get(machine_record.PACKAGES, {})
    if not engine["installed"]:
        return "absent"
    if not engine["running"]:
        return "silent"
    if recorded:
        return "kept" if users or engine["swarm_active"] else "removed"
    return "given-back" if engine["ours"] else "foreign"


def packages(record: machine_record.Record, state: str) -> dict[str, Any]:
    """Return which packages can be removed."""
    recorded = record.get(machine_record.PACKAGES, {})
    now = debian_packages.installed()
    # A dependency that somebody has asked for since is theirs.
    asked = set(said("apt-mark", "showmanual").split()) & recorded.keys() - record.get(machine_record.ASKED, {}).keys()
    wanted = dict.fromkeys(asked, "somebody asked for it since")
    if state not in ("removed", "absent"):
        wanted |= {name: "the engine" for name in record.get(machine_record.ASKED, {}) if name not in BESIDE}
    if NFTABLES_IS_USED.exists():
        wanted |= {"nftables": "its service is enabled"}
    going, kept = debian_packages.removable(recorded, now, wanted)
    unrecorded = {engine_package(), *BESIDE[:2]} - recorded.keys() - {""}
    return {
        "packages": going,
        "packages_beside": debian_packages.touched_beside(going, lambda command: said(*command)),
        "packages_kept": kept,
        "packages_unrecorded": sorted(unrecorded & now.keys()) if state == "given-back" else [],
    }


def gathered(name: str, root: Path, delete_data: bool, stamps: list[str], socket: str) -> dict[str, Any]:
    """Return the whole report."""
    record = machine_record.read()
    engine = gather(socket, timeout_s=5)
    things = engine_removal.listed(socket)
    if things is None:
        things, engine["running"] = engine_removal.NOTHING, False
    hubs = sorted(engine_removal.other_hubs(things, name) | hubs_by_units(name))
    shared = {} if hubs else shared_by_hubs(record)
    objects = engine_removal.plan(things, name, shared.get("images", []), sole=not hubs)
    users = [*objects.pop("others"), *other_users_of_containerd()] + [
        f"volume {each}" for each in objects["volumes_in_use"]
    ]
    state = state_of_engine(engine, record, users)
    if hubs and state in ("removed", "given-back"):
        state = "kept"
    report = {
        "is_backing_up": is_locked(RUN / f"{name}-backup.lock"),
        **of_the_hub(name, root, stamps),
        **objects,
        "other_hubs": hubs,
        "shared": shared,
    }
    report |= {"engine": state, "engine_users": users, "data_root": engine.get("root_dir") or ""}
    if state == "absent":
        report |= without_engine(root)
    report |= packages(record, state) if not hubs else NO_PACKAGES
    if state == "removed" and (why := report["packages_kept"].get(engine_package())):
        state = "kept"
        report |= {"engine": state, "engine_users": [f"package {why.rpartition(' ')[2]}"], **packages(record, state)}
    report["systemd"] = Path("/run/systemd/system").is_dir()
    if shared:
        removed = state in ("removed", "absent")
        shared["repository"] = existing(*REPOSITORY) if removed else []
        policies = record.get(machine_record.POLICIES, {})
        shared["keep"] = [] if removed and not is_routing() else ["net.ipv4.ip_forward", *policies]
        shared["rules"] = docker_rules.rules_of_the_operator(said) if state == "removed" else []
        # Recorded packages may have been removed, and something else come since.
        shared["engine_files"] = (
            left_by_packages(record.get(machine_record.PACKAGES, {}), report["packages"], debian_packages.installed())
            if removed and not users
            else []
        )
        if removed and delete_data and report["data_root"]:
            shared["engine_files"] += in_data_root(state, report["data_root"])
        folders = [
            "/root/.docker",
            "/etc/cni/net.d",
            "/etc/cni",
            *([report["data_root"]] if delete_data and report["data_root"] else []),
        ]
        shared["empty"] = existing(MARKER.parent, *map(Path, folders)) if removed else []
        shared["init"] = removed and INIT_LINE in read(str(INIT_DEFAULTS))
    return {**report, "root_is": foreign_root(root, name)}


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "root": {"type": "path", "required": True},
            "delete_data": {"type": "bool", "default": False},
            "stamps": {"type": "list", "elements": "path", "default": []},
            "socket": {"type": "path", "default": "/var/run/docker.sock"},
            "lease": {"type": "dict", "no_log": False},
        },
        supports_check_mode=True,
    )
    options = module.params
    if options["lease"] and not module.check_mode and (holder := take_lease(options["lease"])):
        module.exit_json(changed=False, holder=holder)
    found = gathered(
        options["name"], Path(options["root"]), options["delete_data"], options["stamps"], options["socket"]
    )
    module.exit_json(changed=False, **found)


if __name__ == "__main__":
    main()
