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

# Two files of this size; without it, one server's output can fill the machine's disk on an engine that rotates nothing.
_LOG_SIZE_MB = 5
_LOG_DRIVERS_WITH_FILES = ("json-file", "local")

_TMP = str(PurePosixPath("/", "tmp"))

# Out of 1000: if the machine itself runs out of memory, the kernel ends a user's process before the Hub or the engine.
_OOM_SCORE = 500


class Engine(NamedTuple):
    """What is to be known of the engine: the memory of its machine (bytes), and its drivers."""

    memory: int
    log_driver: str
    cgroup_driver: str


def engine(info: Mapping[str, Any]) -> Engine:
    """Return what is to be known from the answer to `GET /info`."""
    return Engine(info["MemTotal"], info.get("LoggingDriver", ""), info.get("CgroupDriver", ""))


def in_bytes(limit: int | str | None) -> int | None:
    """A memory limit as configured: a number, a text such as "2G" (from a callable), or none."""
    return int(parse_bytes(limit)) if limit else None


def cgroup_parent(project: str, cgroup_driver: str) -> str:
    """Name of the control group that holds all users' servers of a Hub.

    The deployment gives it a ceiling (roles/network/files/ceiling).  It also sets users' servers together, not
    each of them, against Hub and proxy where processors are short.
    """
    return f"{project}-users.slice" if cgroup_driver == "systemd" else f"/{project}-users"


def merged(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> dict[str, Any]:
    """Return our host configuration with the administrator's on top.

    Of a list of security options, each one is a setting of its own: only what both set is theirs.
    """
    given = theirs.get("security_opt") or []
    named = {_option(each) for each in given}
    kept = [each for each in ours["security_opt"] if _option(each) not in named]
    return {**ours, **theirs, "security_opt": [*kept, *given]}


def _option(text: str) -> str:
    # Docker still takes the colon that it had first.
    return re.split("[=:]", text, maxsplit=1)[0]


def host_config(project: str, of: Engine, memory: int | None, tmp_mb: int | None, pids: int) -> dict[str, Any]:
    """Return what `docker.APIClient.create_host_config` takes.

    Args:
        project: `jupyterhub_name`.
        of: the engine.
        memory: limit in bytes, if there is one.
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
        # Docker would throw a dead server's log away with it; poll() removes it after reading the log.
        "auto_remove": False,
    }
    # Both are memory, within the limit.  At half of it, who fills one is told "No space left", and nothing is killed.
    if half:
        config["shm_size"] = half
    if tmp:
        # Docker's own default is noexec; builds (pip, R, compilers) run what they wrote there.
        config["tmpfs"] = {_TMP: f"rw,exec,nosuid,nodev,mode=1777,size={tmp}"}
    if of.log_driver in _LOG_DRIVERS_WITH_FILES:
        config["log_config"] = {"type": of.log_driver, "config": {"max-size": f"{_LOG_SIZE_MB}m", "max-file": "2"}}
    return config
