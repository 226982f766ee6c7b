"""The Docker options that may be set for users' servers besides the settings; all others are refused.

An allowlist, since a denylist would let through whatever the next version of Docker adds.
docs/how-to/container-options.md has the same list for operators.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from .formatting import did_you_mean

DOCS = "docs/how-to/container-options.md lists what can be set"
MACHINE = "would remove the isolation between servers and the machine"
FILES = "would bypass the checks on mounts"
NETWORK = "would move servers out of their fenced network"
LIMITS = "would lift the limits on servers"
OWN_SETTING = "has its own setting"

Found = Iterator[tuple[tuple[str, ...], str, str]]
"""Where it is, what is wrong, and the fix."""
Check = Callable[[Any], bool]

_MOUNTS = "set mounts of images_environments instead"
_MEMORY = "set hub_server_memory_mb instead"
_CPUS = "set hub_server_cpus instead"
_PIDS = "set hub_server_pids instead"

# Limits per process; the others count per uid, which all servers share, or set priorities.
ULIMITS = ("as", "core", "cpu", "data", "fsize", "locks", "memlock", "nofile", "rss", "stack")
# GPUs only: nothing that holds data or gives access to the kernel's memory.
DEVICE = re.compile(r"/dev/(dri|kfd|accel|nvidia[A-Za-z0-9-]*)(/[A-Za-z0-9]+)*")
RUNTIMES = (
    "runc",
    "crun",
    "nvidia",
    "runsc",
    "io.containerd.runsc.v1",
    "kata",
    "kata-runtime",
    "io.containerd.kata.v2",
    "sysbox-runc",
)
GPU_DRIVERS = ("", "nvidia", "cdi")
GPU = re.compile(r"(nvidia|amd)\.com/gpu=[A-Za-z0-9:_.-]+|[A-Za-z0-9:_.-]+")
NFS = re.compile(r"[A-Za-z0-9.:\[\]-]*:/[^{}]*")
_OOM_SCORE_MAX = 1000
UID = re.compile(r"[1-9]\d{0,8}(:\d{1,9})?")


def _ulimits(value: Any) -> bool:
    return isinstance(value, list) and all(
        isinstance(each, Mapping) and str(each.get("name", each.get("Name"))) in ULIMITS for each in value
    )


def _devices(value: Any) -> bool:
    return isinstance(value, list) and all(
        isinstance(each, str) and DEVICE.fullmatch(each.partition(":")[0]) and "{" not in each for each in value
    )


def _gpus(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(each, Mapping) and _gpu(each) for each in value)


def _gpu(request: Mapping[str, Any]) -> bool:
    # docker-py accepts both spellings.
    by_name = {str(name).lower().replace("_", ""): value for name, value in request.items()}
    ids = by_name.get("deviceids") or []
    return (
        by_name.keys() <= {"driver", "count", "deviceids", "capabilities", "options"}
        and (by_name.get("driver") or "") in GPU_DRIVERS
        and isinstance(ids, list)
        and all(isinstance(each, str) and GPU.fullmatch(each) for each in ids)
    )


def _runtime(value: Any) -> bool:
    return value in RUNTIMES


def _user(value: Any) -> bool:
    return isinstance(value, str) and bool(UID.fullmatch(value))


def _killed_first(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value <= _OOM_SCORE_MAX


def _nfs(value: Any) -> bool:
    if not isinstance(value, Mapping) or value.get("Name") != "local" or not value.keys() <= {"Name", "Options"}:
        return False
    options = value.get("Options")
    if not isinstance(options, Mapping) or not options.keys() <= {"type", "o", "device"}:
        return False
    # Docker obeys these flags whatever the type.
    flags = {option.partition("=")[0].strip() for option in str(options.get("o", "")).split(",")}
    return (
        options.get("type") in ("nfs", "nfs4")
        and bool(NFS.fullmatch(str(options.get("device"))))
        and flags.isdisjoint(("bind", "rbind", "remount", "shared", "rshared"))
    )


def _socket(value: Any) -> bool:
    return isinstance(value, str) and value.startswith("unix:///")


def _anything(value: Any) -> bool:
    return True


def _yes(value: Any) -> bool:
    return value is True


# Each option with the check for safe values, and their description.
HOST_CONFIG: dict[str, tuple[Check, str]] = {
    **dict.fromkeys(
        (
            "blkio_weight",
            "blkio_weight_device",
            "cpu_period",
            "cpu_shares",
            "cpuset_cpus",
            "cpuset_mems",
            "device_read_bps",
            "device_read_iops",
            "device_write_bps",
            "device_write_iops",
            "dns",
            "dns_opt",
            "dns_search",
            "extra_hosts",
            "group_add",
            "log_config",
            "mem_reservation",
            "mem_swappiness",
            "read_only",
            "shm_size",
            "storage_opt",
            "tmpfs",
        ),
        (_anything, ""),
    ),
    "device_requests": (_gpus, "GPUs: the driver nvidia, or cdi with names of GPUs"),
    "devices": (_devices, "GPUs: /dev/dri, /dev/kfd, /dev/accel and /dev/nvidia..."),
    "init": (_yes, "true"),
    "oom_score_adj": (_killed_first, f"1 to {_OOM_SCORE_MAX}: servers are killed before the Hub"),
    "runtime": (_runtime, f"one of {', '.join(RUNTIMES)}"),
    "ulimits": (_ulimits, f"a list of {{name: ..., soft: ..., hard: ...}} with the names {', '.join(ULIMITS)}"),
}
CREATE: dict[str, tuple[Check, str]] = {
    **dict.fromkeys(
        (
            "command",
            "domainname",
            "entrypoint",
            "environment",
            "healthcheck",
            "hostname",
            "labels",
            "platform",
            "stdin_open",
            "stop_signal",
            "stop_timeout",
            "tty",
            "working_dir",
        ),
        (_anything, ""),
    ),
    "runtime": HOST_CONFIG["runtime"],
    "user": (_user, 'the uid of a user other than root, in quotes, such as "1000:100"'),
}
PROPAGATION = ("private", "rprivate", "slave", "rslave")
CLIENT: dict[str, tuple[Check, str]] = {
    **dict.fromkeys(("max_pool_size", "num_pools", "timeout", "version"), (_anything, "")),
    # The Hub's container has only its own engine's socket, while a port could be anyone's.
    "base_url": (_socket, "unix:// and the path of a socket"),
}
MOUNT: dict[str, tuple[Check, str]] = {
    **dict.fromkeys(
        ("consistency", "labels", "no_copy", "read_only", "source", "target", "tmpfs_mode", "tmpfs_size"),
        (_anything, ""),
    ),
    "type": (lambda value: value in ("bind", "volume", "tmpfs"), "bind, volume or tmpfs"),
    # Mounts made inside a server must not appear on the machine.
    "propagation": (lambda value: value in (None, *PROPAGATION), f"one of {', '.join(PROPAGATION)}"),
    "driver_config": (
        _nfs,
        '{Name: local, Options: {type: nfs, o: "addr=...", device: ":/path"}}; for other drivers create the volume '
        "with docker volume create, and write its name as the source",
    ),
}

# Why options that are not listed are refused; any other option is not known to be safe.
_REFUSED: dict[str, tuple[str, str]] = {
    **dict.fromkeys(
        (
            "cap_add",
            "cap_drop",
            "cgroupns",
            "device_cgroup_rules",
            "host_config",
            "init_path",
            "ipc_mode",
            "isolation",
            "pid_mode",
            "privileged",
            "security_opt",
            "sysctls",
            "userns_mode",
            "uts_mode",
        ),
        (MACHINE, f"remove it; {DOCS}"),
    ),
    **dict.fromkeys(("binds", "mounts", "volume_driver", "volumes", "volumes_from"), (FILES, _MOUNTS)),
    **dict.fromkeys(
        (
            "links",
            "mac_address",
            "network_disabled",
            "network_mode",
            "networking_config",
            "port_bindings",
            "publish_all_ports",
        ),
        (NETWORK, f"remove it; {DOCS}"),
    ),
    **dict.fromkeys(
        ("cgroup_parent", "cpu_rt_period", "cpu_rt_runtime", "kernel_memory", "oom_kill_disable"),
        (LIMITS, f"remove it; {DOCS}"),
    ),
    **dict.fromkeys(("mem_limit", "memswap_limit"), (OWN_SETTING, _MEMORY)),
    **dict.fromkeys(("cpu_count", "cpu_percent", "cpu_quota", "nano_cpus"), (OWN_SETTING, _CPUS)),
    "pids_limit": (OWN_SETTING, _PIDS),
    **dict.fromkeys(("auto_remove", "name", "restart_policy"), ("is set by the deployment", "remove it")),
    "image": (OWN_SETTING, "set images_environments instead"),
}


def unsafe(options: Any, listed: Mapping[str, tuple[Check, str]], *path: str) -> Found:
    """Yield the options that are not listed as safe.  Another rule reports a value that is not a mapping."""
    for name, value in options.items() if isinstance(options, Mapping) else ():
        if name not in listed:
            otherwise = did_you_mean(name, listed, f"remove it; {DOCS}")
            yield ((*path, name), *_REFUSED.get(name, ("is not known to be safe", otherwise)))
        elif not listed[name][0](value):
            yield (*path, name), _unsafe_value(name), f"write {listed[name][1]}; or remove it"


def _unsafe_value(name: str) -> str:
    return "would run servers as root, or as an unknown user" if name == "user" else "has an unsafe value"
