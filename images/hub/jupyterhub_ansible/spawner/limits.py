"""What a user's server may take from the machine, as Docker's host configuration."""

import re
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any, NamedTuple

from docker.utils import parse_bytes

from . import seccomp

HARDENING: dict[str, Any] = {
    "cap_drop": ["ALL"],
    "security_opt": ["no-new-privileges", f"seccomp={seccomp.PROFILE}"],
    "init": True,
}

# Two files of this size; an engine without log rotation would let one server's output fill the disk.
_LOG_SIZE_MB = 5
_LOG_DRIVERS_WITH_FILES = ("json-file", "local")

_TMP = str(PurePosixPath("/", "tmp"))

# Of 1000: if the machine runs out of memory, the kernel kills users' processes before the Hub or the engine.
_OOM_SCORE = 500


class Engine(NamedTuple):
    """Properties of the engine: the memory of its machine (bytes), and its drivers."""

    memory: int
    log_driver: str
    cgroup_driver: str


def engine(info: Mapping[str, Any]) -> Engine:
    """Return the engine's properties from the answer to `GET /info`."""
    return Engine(info["MemTotal"], info.get("LoggingDriver", ""), info.get("CgroupDriver", ""))


def in_bytes(limit: int | str | None) -> int | None:
    """Return a configured memory limit (a number, or a string such as "2G") in bytes; None for no limit."""
    return int(parse_bytes(limit)) if limit else None


def cgroup_parent(project: str, cgroup_driver: str) -> str:
    """Return the name of the cgroup that holds all users' servers of a Hub.

    The deployment gives it a memory ceiling (roles/network/files/ceiling).  When CPU is short, all users' servers
    together, and not each of them, compete with Hub and proxy.
    """
    return f"{project}-users.slice" if cgroup_driver == "systemd" else f"/{project}-users"


def merged(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> dict[str, Any]:
    """Return our host configuration, overridden by the administrator's.

    The lists of security options are merged option by option.
    """
    given = theirs.get("security_opt") or []
    named = {_option(each) for each in given}
    kept = [each for each in ours["security_opt"] if _option(each) not in named]
    return {**ours, **theirs, "security_opt": [*kept, *given]}


def _option(text: str) -> str:
    # Docker still accepts the older colon.
    return re.split("[=:]", text, maxsplit=1)[0]


def host_config(project: str, of: Engine, memory: int | None, tmp_mb: int | None, pids: int) -> dict[str, Any]:
    """Return the arguments of `docker.APIClient.create_host_config`.

    Args:
        project: `jupyterhub_name`.
        of: properties of the engine.
        memory: limit in bytes; None for no limit.
        tmp_mb: size of /tmp; by default half of the memory.
        pids: limit of processes and threads.
    """
    half = memory // 2 if memory else None
    tmp = min(tmp_mb * 1024**2, memory or tmp_mb * 1024**2) if tmp_mb else half
    config: dict[str, Any] = {
        **HARDENING,
        "pids_limit": pids,
        # Equal to the memory limit: no swap.
        "memswap_limit": memory,
        "oom_score_adj": _OOM_SCORE,
        "cgroup_parent": cgroup_parent(project, of.cgroup_driver),
        # Docker would discard a dead server's log; poll() removes the container after reading it.
        "auto_remove": False,
    }
    # Both count against the memory limit.  At half of it, filling one gives "No space left", and nothing is killed.
    if half:
        config["shm_size"] = half
    if tmp:
        # exec, unlike Docker's default: builds (pip, R, compilers) run programs from /tmp.
        config["tmpfs"] = {_TMP: f"rw,exec,nosuid,nodev,mode=1777,size={tmp}"}
    if of.log_driver in _LOG_DRIVERS_WITH_FILES:
        config["log_config"] = {"type": of.log_driver, "config": {"max-size": f"{_LOG_SIZE_MB}m", "max-file": "2"}}
    return config
