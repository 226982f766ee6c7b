"""Kernel limits that all users' servers share, because the kernel counts per user id or for the whole machine.

If they are raised, the memory limit of each server applies instead, since what they limit costs memory of the server
that uses it.  The playbook raises them where it installed the engine (plugins/module_utils/docker_engine.py, with the
cost of each); a Hub in a container can only check them.
"""

from pathlib import Path

_INT, _LONG = 2**31 - 1, 2**63 - 1
LIMITS = {
    "fs.aio-max-nr": _LONG,
    "fs.epoll.max_user_watches": _LONG,
    "fs.file-max": _LONG,
    "fs.inotify.max_user_instances": _INT,
    "fs.inotify.max_user_watches": _INT,
    # No limit.
    "fs.pipe-user-pages-soft": 0,
    "kernel.pty.max": 2**20,
}


def low(folder: Path = Path("/proc/sys")) -> list[str]:
    """Return sysctl lines that raise limits which are too low; limits that this kernel lacks are skipped."""
    lines = []
    for name, wanted in LIMITS.items():
        try:
            now = int((folder / name.replace(".", "/")).read_text())
        except (OSError, ValueError):
            continue
        if now < wanted or (now and not wanted):
            lines.append(f"{name} = {wanted}")
    return lines
